"""The package's one writer, of :mod:`mmdet_runtime.files`, and how configs are written."""

from pathlib import Path

import mmengine
from mmengine.config import Config

from mmdet_runtime.files import (
    LAST_ACTS,
    LineFile,
    append_line,
    explained,
    host_name,
    is_alive,
    make_folder,
    remove_stale_temporaries,
    replacing,
    start_of,
    temporary_folder,
    temporary_path,
    write_atomically,
    write_bytes,
    write_json,
    write_pickle,
    write_text,
)

__all__ = [
    'LAST_ACTS', 'LineFile', 'append_line', 'explained', 'host_name', 'is_alive', 'make_folder', 'remove_stale_temporaries', 'replacing', 'start_of', 'temporary_folder',
    'temporary_path', 'write_atomically', 'write_bytes', 'write_config', 'write_json', 'write_pickle', 'write_text',
]  # fmt: skip


def write_config(path: str | Path, cfg: Config) -> None:
    """Write a config by :func:`write_atomically`, as Python, JSON or YAML by the suffix of ``path``."""
    suffix = Path(path).suffix
    text = cfg.pretty_text if suffix == '.py' else mmengine.fileio.dump(cfg.to_dict(), file_format=suffix[1:])
    write_text(path, text)
