"""The files of a run in its folder ``vis_data``: scalars, config and pictures."""

from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.fileio import dump
from mmengine.visualization import LocalVisBackend as _LocalVisBackend
from mmengine.visualization.vis_backend import force_init_env

from ..registry import VISBACKENDS
from ..utils.files import LineFile, make_folder, write_config
from .drawing import write_image


@VISBACKENDS.register_module()
class LocalVisBackend(_LocalVisBackend):
    """mmengine's backend of this name, with the same arguments and files, written by :mod:`mmdet.utils.files`.

    Raises:
        DataError: a file cannot be written.
    """

    def _init_env(self) -> None:
        make_folder(self._save_dir)
        super()._init_env()

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Write ``config.py``."""
        write_config(self._config_save_file, config)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write ``vis_image/<name>_<step>.png``, (H, W, 3) RGB uint8."""
        write_image(f'{self._img_save_dir}/{name}_{step}.png', image)

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        with LineFile(file_path) as file:
            file.append(dump(value_dict, file_format=file_format))
