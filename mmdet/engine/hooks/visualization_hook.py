"""Draw predictions during validation and testing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...formats.images import decode_image
from ...registry import HOOKS
from ...structures import DetDataSample
from ...utils.outputs import OutputNames, refuse_inputs, source_of
from ...visualization.drawing import picture_suffix


@HOOKS.register_module()
class DetVisualizationHook(Hook):
    """Draw the first image of every ``interval``-th validation batch, and every image of a test run.

    Ground truth is drawn beside the predictions if the data samples have it in pixels of the original image, that is, if
    the test pipeline loads annotations after resizing.

    Args:
        draw: False switches the hook off.
        interval: validation batches between two pictures.
        score_thr: predictions above this score are drawn.
        show: open a window.
        wait_time: seconds that the window stays; 0 waits for a key.
        test_out_dir: folder for the pictures of a test run, inside the timestamp folder of the run; None gives them to
            the visualizer's backends. Pictures get the names of their images by :class:`~mmdet.utils.outputs.OutputNames`, in the
            order of the dataset, hence the same ones for any number of processes.
        backend_args: how image files are read, see ``mmengine.fileio``.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
        backend_args: dict | None = None,
    ):
        self.draw = draw
        self.interval = interval
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self.backend_args = backend_args
        self._test_index = 0
        self._out_files: dict[str, Path] = {}  # by image path

    def before_test_epoch(self, runner: Runner) -> None:
        """Number the pictures of each test run from 1, and name those of the whole dataset.

        Raises:
            ConfigError: ``test_out_dir`` is a folder of test images.
        """
        self._test_index = 0
        self._out_files = {}
        dataset: Any = getattr(getattr(runner, 'test_dataloader', None), 'dataset', None)
        if self.draw and self.test_out_dir is not None and hasattr(dataset, 'get_data_info'):
            self._name_pictures(runner, [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))])

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[DetDataSample]
    ) -> None:
        """Draw the first sample of a batch, every ``interval`` batches."""
        if not self.draw or not outputs or batch_idx % self.interval or not is_main_process():
            return
        # All validation runs of a training share one step axis: the training iteration at which they happened.
        self._draw(runner, outputs[0], name='val_img', out_file=None, step=runner.iter + batch_idx)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[DetDataSample]
    ) -> None:
        """Draw every sample: with ``test_out_dir`` each process its own share, otherwise the main process only."""
        if not self.draw or (self.test_out_dir is None and not is_main_process()):
            return
        for sample in outputs:
            self._test_index += 1
            out_file = None
            if self.test_out_dir is not None:
                if sample.img_path not in self._out_files:
                    self._name_pictures(runner, [sample.img_path])
                out_file = str(self._out_files[sample.img_path])
            self._draw(runner, sample, name='test_img', out_file=out_file, step=self._test_index)

    def _draw(self, runner: Runner, sample: DetDataSample, *, name: str, out_file: str | None, step: int) -> None:
        runner.visualizer.add_datasample(
            name if not self.show else Path(sample.img_path).name,
            decode_image(sample.img_path, backend_args=self.backend_args, value_range='minmax')[..., ::-1],
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            pred_score_thr=self.score_thr,
            out_file=out_file,
            step=step,
        )

    def _name_pictures(self, runner: Runner, image_paths: list[str]) -> None:
        """Add the files of the pictures of some images; which image a name belongs to is recorded beside the folder."""
        folder = Path(runner.work_dir) / runner.timestamp / str(self.test_out_dir)
        paths = list(dict.fromkeys(image_paths))
        refuse_inputs([folder], dict.fromkeys(Path(path).parent for path in paths), field='test_out_dir')
        wanted = [(source_of(path), Path(path).stem, [f'{{}}{picture_suffix(path)}']) for path in paths]
        names = OutputNames(folder).claim(wanted)
        self._out_files.update((path, folder / f'{name}{picture_suffix(path)}') for path, name in zip(paths, names))
