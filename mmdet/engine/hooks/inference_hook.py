"""How the network runs in tests and validations, as ``inference`` of the config says."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...models.inference import InferenceOptions, prepare_networks, restore_networks
from ...registry import HOOKS
from ..checkpoint.loading import unwrap


@HOOKS.register_module()
class InferenceHook(Hook):
    """Prepare the network before a test, by :func:`mmdet.models.inference.prepare_networks`, and restore it afterwards.

    A validation, also that inside a training, takes the precision only: float32 unless ``inference.amp`` of the config or ``val_cfg.fp16``
    says otherwise, whatever the training computes in. Its numbers are those of the weights as they are saved.
    """

    priority = 'LOWEST'  # after the hook that puts averaged weights in

    def before_test_epoch(self, runner: Runner) -> None:
        """Prepare the network."""
        prepare_networks(unwrap(runner.model), self._options(runner, runner.test_loop))

    def before_val_epoch(self, runner: Runner) -> None:
        """Set the precision, if the config names one."""
        options = self._options(runner, runner.val_loop)
        if options.amp:
            prepare_networks(unwrap(runner.model), InferenceOptions(options.amp, channels_last=False, fuse=False))

    def _options(self, runner: Runner, loop: Any) -> InferenceOptions:
        options = InferenceOptions.read(runner.cfg.get('inference'))
        return (
            InferenceOptions.read(options, amp=True)
            if options.amp is None and getattr(loop, 'fp16', False)
            else options
        )

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Restore the network."""
        restore_networks(unwrap(runner.model))

    after_val_epoch = after_test_epoch
