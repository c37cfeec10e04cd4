"""mmengine's logger hook, whose results of a test are written by one process, whole or not at all."""

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import dump
from mmengine.hooks import LoggerHook as _LoggerHook
from mmengine.runner import Runner

from ...registry import HOOKS
from ...utils.files import write_text


@HOOKS.register_module()
class LoggerHook(_LoggerHook):
    """As mmengine's, whose processes all write the metrics of a test into one file at once, each over the others."""

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the metrics; the first process writes ``TIMESTAMP/TIMESTAMP.json``."""
        length = len(runner.test_dataloader)
        tag, text = runner.log_processor.get_log_after_epoch(runner, length, 'test', with_non_scalar=True)
        runner.logger.info(text)
        if is_main_process():
            write_text(Path(runner.log_dir) / self.json_log_path, dump(self._process_tags(tag), file_format='json'))
