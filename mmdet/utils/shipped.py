"""The files that belong to the package and are no modules: configs, tools and the model index."""

import functools
from pathlib import Path


@functools.cache
def shipped_files() -> Path:
    """Folder with ``configs``, ``tools``, ``UFPMP-Det-Tools`` and ``model-index.yml``.

    It is ``mmdet/.mim``, where mmengine and mim look as well: links in a clone, copies in an installed package. Where unpacking an archive of the
    sources has left text files in place of the links, it is the folder that holds the package; ``pip install -e .`` puts the links back.
    """
    inside = Path(__file__).resolve().parents[1] / '.mim'
    return inside if (inside / 'configs').is_dir() else inside.parents[1]
