"""Videos, of :mod:`mmdet_runtime.videos`."""

from mmdet_runtime.videos import (
    VideoFile,
    open_video,
)

__all__ = ['VideoFile', 'open_video']
