"""The visualizer of the configs: it draws data samples and passes scalars and pictures to its backends."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from mmengine.dist import master_only
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

from ..config.reading import type_name
from ..errors import ConfigError
from ..registry import VISUALIZERS
from ..structures import DetDataSample
from .drawing import RGB, as_numpy, as_rgb, draw_boxes, side_by_side, write_image
from .vis_backend import LocalVisBackend

_NAMED_COLORS = {
    'white': (255, 255, 255), 'black': (0, 0, 0), 'red': (255, 0, 0), 'green': (0, 255, 0), 'blue': (0, 0, 255),
    'yellow': (255, 255, 0), 'cyan': (0, 255, 255), 'magenta': (255, 0, 255), 'orange': (255, 165, 0),
}  # fmt: skip


@VISUALIZERS.register_module()
class DetLocalVisualizer(Visualizer):
    """Draws boxes with OpenCV; matplotlib is imported only if one of mmengine's own ``draw_*`` methods is called.

    Scalars, configs and graphs go to the backends as in the base class.

    Args:
        name, image, vis_backends, save_dir: as in the base class.
        bbox_color: one colour (RGB tuple or a name) for every class, or a list of one per class; None takes ``dataset_meta['palette']``,
            or :func:`mmdet.visualization.palette` where there is none.
        text_color: RGB tuple or a name; None takes black or white, whichever is more readable on the label.
        mask_color: accepted for configs of mmdetection; masks are not drawn.
        line_width: outline width in pixels; None scales it with image and box.
        alpha: opacity of everything drawn, in (0, 1].
        legend: as for :func:`mmdet.visualization.draw_boxes`.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: list[dict] | None = None,
        save_dir: str | None = None,
        bbox_color: str | Sequence | None = None,
        text_color: str | Sequence[int] | None = None,
        mask_color: str | Sequence[int] | None = None,
        line_width: float | None = None,
        alpha: float = 1.0,
        legend: bool | int = True,
    ):
        self._figure: tuple | None = None  # canvas, figure, axes; made when one of mmengine's methods draws
        # Outside the scope of a runner, mmengine would build its own class of this name.
        backends = [
            dict(each, type=LocalVisBackend)
            if isinstance(each, dict) and type_name(each) == 'LocalVisBackend'
            else each
            for each in vis_backends or ()
        ]
        super().__init__(name=name, image=image, vis_backends=backends or None, save_dir=save_dir)
        self.bbox_color, self.text_color, self.line_width = bbox_color, text_color, line_width
        self.alpha, self.legend = alpha, legend

    # Class names (``classes``) and colours (``palette``) of the dataset, set by the runner. The property of the base class works on
    # the main process only; here every process can draw its share of a test run.
    dataset_meta: dict | None = None

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw one image's ground truth and predictions, beside each other where both are drawn.

        The picture is written to ``out_file`` or, without one, passed to the backends; ``get_image`` returns it.

        Args:
            name: identifier of the picture in the backends, and the window title.
            image: (H, W, 3) uint8 RGB.
            data_sample: boxes in pixels of ``image``; None draws nothing.
            draw_gt: draw ``gt_instances``, and ``ignored_instances`` dashed.
            draw_pred: draw ``pred_instances``.
            show: open a window.
            wait_time: seconds that the window stays; 0 waits for a key.
            out_file: file of the picture.
            pred_score_thr: predictions with a score above this are drawn.
            step: global step for the backends.
        """
        image = np.ascontiguousarray(image).clip(0, 255).astype(np.uint8)
        panels = []
        if draw_gt and data_sample is not None and 'gt_instances' in data_sample:
            ignored = data_sample.ignored_instances.bboxes if 'ignored_instances' in data_sample else None
            panels.append(self._draw(image, data_sample.gt_instances, ignored=as_numpy(ignored)))
        if draw_pred and data_sample is not None and 'pred_instances' in data_sample:
            found = data_sample.pred_instances
            panels.append(self._draw(image, found[found.scores > pred_score_thr]))
        panels = panels or [image]
        drawn = side_by_side(panels[0], panels[1]) if len(panels) == 2 else panels[0]

        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_image(out_file, drawn)
        else:
            self.add_image(name, drawn, step)

    def _draw(self, image: np.ndarray, instances: InstanceData, ignored: np.ndarray | None = None) -> np.ndarray:
        boxes, labels, scores = (as_numpy(instances.get(field)) for field in ('bboxes', 'labels', 'scores'))
        meta = {key.lower(): value for key, value in (self.dataset_meta or {}).items()}
        classes = meta.get('classes')
        count = max([int(label) + 1 for label in labels] + [len(classes or ())])
        return draw_boxes(
            image, boxes, labels, scores, classes,
            colors=_class_colors(self.bbox_color, count) or meta.get('palette'), ignored=ignored, line_width=self.line_width,
            text_color=None if self.text_color is None else _rgb(self.text_color), alpha=self.alpha, legend=self.legend,
        )  # fmt: skip

    # The base class makes a matplotlib figure in its constructor. Here the figure is made on first use, by the inherited draw_points,
    # draw_lines and so on; until then set_image and get_image work on the array.

    def _initialize_fig(self, fig_cfg: dict) -> tuple:
        return None, None, None

    def _built_figure(self) -> tuple:
        if self._figure is None:
            self._figure = super()._initialize_fig(self.fig_save_cfg)
            if getattr(self, '_image', None) is not None:
                super().set_image(self._image)
        return self._figure

    fig_save_canvas = property(lambda self: self._built_figure()[0], lambda self, value: None)
    ax_save = property(lambda self: self._built_figure()[2], lambda self, value: None)

    # The base constructor reads the resolution of the figure, here matplotlib's default.
    fig_save = property(
        lambda self: SimpleNamespace(get_dpi=lambda: 100.0) if self._figure is None else self._figure[1],
        lambda self, value: None,
    )

    def set_image(self, image: np.ndarray) -> None:
        """Start from an (H, W, 3) RGB image."""
        self._figure = None
        self._image = np.array(image, dtype=np.uint8)
        self.height, self.width = self._image.shape[:2]
        self._default_font_size = max((self.height * self.width) ** 0.5 // 90, 10)

    def get_image(self) -> np.ndarray:
        """The drawn (H, W, 3) RGB image."""
        if self._figure is not None:
            return super().get_image()
        if getattr(self, '_image', None) is None:
            raise ConfigError('the visualizer holds no image yet; call set_image or add_datasample first')
        return self._image

    @master_only
    def show(
        self, drawn_img: np.ndarray | None = None, win_name: str = 'image', wait_time: float = 0.0, continue_key: str = ' ',
        backend: str = 'cv2',
    ) -> None:  # fmt: skip
        """Show an RGB picture, by default the drawn one, in a window for ``wait_time`` seconds (0 waits for a key).

        ``backend`` is 'cv2' or 'matplotlib'; ``continue_key`` is for the latter.

        Raises:
            ConfigError: OpenCV has no window system here.
        """
        if backend != 'cv2':
            super().show(drawn_img, win_name, wait_time, continue_key, backend)
            return
        image = self.get_image() if drawn_img is None else drawn_img
        try:
            cv2.imshow(win_name, image[..., ::-1])
            cv2.waitKey(round(wait_time * 1000))
        except cv2.error as error:
            message = 'no window can be opened here; write the picture to a file instead of show=True'
            raise ConfigError(message) from error


def _rgb(color: Any) -> RGB:
    """RGB tuple of a colour given as a name or a sequence; a list of one colour counts as that colour."""
    if isinstance(color, Sequence) and not isinstance(color, str) and len(color) == 1:
        color = color[0]
    if isinstance(color, str):
        if color not in _NAMED_COLORS:
            raise ConfigError(f'colour names are {sorted(_NAMED_COLORS)}, or give an RGB tuple', received=color)
        return _NAMED_COLORS[color]
    if len(color) != 3:
        raise ConfigError('a colour is an RGB tuple of three integers', received=color)
    return as_rgb(color)


def _class_colors(colors: Any, count: int) -> list[RGB] | None:
    """One RGB colour per class from ``bbox_color``: None, one colour for all, or a list."""
    if colors is None:
        return None
    if isinstance(colors, str) or not isinstance(colors[0], (str, Sequence)):
        return [_rgb(colors)] * count
    return [_rgb(color) for color in colors]
