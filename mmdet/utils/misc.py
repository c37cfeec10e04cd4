"""What the tools of plug-in repositories ask configs and folders, under the names of mmdetection 3.x."""

import os
import re
import urllib.parse
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ..errors import ArgumentError
from .logger import get_caller_name, log_img_scale

__all__ = [
    'find_latest_checkpoint', 'get_caller_name', 'get_file_list', 'get_test_pipeline_cfg', 'log_img_scale', 'update_data_root'
]  # fmt: skip

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def get_test_pipeline_cfg(cfg: str | Path | ConfigDict | Config) -> list[ConfigDict]:
    """The pipeline of ``test_dataloader.dataset``, looked for inside wrappers (``dataset``, the first of ``datasets``).

    Args:
        cfg: a config or its file.

    Raises:
        RuntimeError: there is no pipeline.
    """
    if isinstance(cfg, (str, Path)):
        cfg = Config.fromfile(cfg)
    dataset: Any = cfg.test_dataloader.dataset
    while isinstance(dataset, dict):
        if 'pipeline' in dataset:
            return dataset['pipeline']
        dataset = dataset.get('dataset') or (dataset.get('datasets') or [None])[0]
    raise RuntimeError('Cannot find `pipeline` in `test_dataloader`')


def update_data_root(cfg: Config, logger: Any = None) -> None:
    """Put the environment variable ``MMDET_DATASETS``, where it is set, in the place of ``cfg.data_root``.

    The new root appears at that key, and in every text of ``cfg.data``, the data loaders and the evaluators that contains the old one.

    Args:
        cfg: a config, changed in place.
        logger: where the change is logged.

    Raises:
        ArgumentError: ``cfg`` is not a ``Config``.
    """
    if not isinstance(cfg, Config):
        raise ArgumentError('must be a Config', field='cfg', received=type(cfg).__name__)
    root, old = os.environ.get('MMDET_DATASETS'), cfg.get('data_root')
    if not root or not old:
        return
    print_log(f'MMDET_DATASETS is {root}: it takes the place of {old}', logger=logger)

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            for key in value:
                value[key] = replaced(value[key])
        elif isinstance(value, list):
            value[:] = [replaced(item) for item in value]
        return value.replace(old, root) if isinstance(value, str) else value

    for key in list(cfg.keys()):
        if key == 'data' or key.endswith(('_dataloader', '_evaluator')):
            cfg[key] = replaced(cfg[key])
    cfg.data_root = root


def find_latest_checkpoint(path: str | Path, suffix: str = 'pth') -> str | None:
    """``latest.pth`` in a folder, or the file with the highest number at the end of its name; None where there is none."""
    folder = Path(path)
    latest = folder / f'latest.{suffix}'
    if latest.exists():
        return str(latest)
    numbered = [
        (int(found[1]), str(file)) for file in folder.glob(f'*.{suffix}') if (found := re.search(r'(\d+)$', file.stem))
    ]
    return max(numbered)[1] if numbered else None


def get_file_list(source_root: str) -> tuple[list[str], dict[str, bool]]:
    """The images of a folder (at any depth, sorted), the image itself, or a download of it into the current folder.

    Args:
        source_root: a folder, an image or an address (http, https).

    Returns:
        The paths, and which of ``is_dir``, ``is_url`` and ``is_file`` the source is.
    """
    is_url = source_root.startswith(('http:/', 'https:/'))
    is_dir = os.path.isdir(source_root)
    is_file = os.path.splitext(source_root)[-1].lower() in IMAGE_SUFFIXES and not is_url
    files = []
    if is_dir:
        files = sorted(str(path) for path in Path(source_root).rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)
    elif is_url:
        name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(source_root).path))
        torch.hub.download_url_to_file(source_root, name)
        files = [os.path.abspath(name)]
    elif is_file:
        files = [source_root]
    return files, dict(is_dir=is_dir, is_url=is_url, is_file=is_file)
