"""Compare the objects of the training images with what the detector can find, before the first iteration."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.account import HOW_TO_FIND_THEM, lost_objects, object_counts
from ...models.detectors import BaseDetector
from ...registry import HOOKS
from ..checkpoint.loading import unwrap


@HOOKS.register_module()
class ObjectCountHook(Hook):
    """Say before a training how many images have more objects than the detector can find, and how many objects cannot be found.

    A detector that finds each object by a query leaves the others out of its loss: its queries learn that there is nothing. Detectors
    without such a limit (``max_objects`` is None) are not compared. Objects are those of the annotations; what crops and mosaics of the
    pipeline take away or add is not counted.
    """

    def before_train(self, runner: Runner) -> None:
        """Warn where objects cannot be found."""
        detectors = [part for part in unwrap(runner.model).modules() if isinstance(part, BaseDetector)]
        limits = [part.max_objects for part in detectors if part.max_objects is not None]
        if not limits:
            return
        counts, most = object_counts(runner.train_dataloader.dataset), min(limits)
        images, objects = lost_objects(counts, most)
        if objects:
            runner.logger.warning(
                f'{images} of {len(counts)} training images have more objects than the {most} that the detector can find in one: '
                f'{objects} of {counts.sum()} objects cannot be found (up to {counts.max()} in an image). {HOW_TO_FIND_THEM}'
            )
