"""Parts of data pipelines."""

from collections.abc import Sequence

from ..errors import ArgumentError
from ..registry import TRANSFORMS
from .transforms import LoadAnnotations, LoadImageFromFile


def get_loading_pipeline(pipeline: Sequence[dict]) -> list[dict]:
    """The two transform configs of a pipeline that load the image and the annotations.

    Raises:
        ArgumentError: the pipeline does not hold exactly these two.
    """
    kinds = [
        (step, TRANSFORMS.get(step['type']) if isinstance(step['type'], str) else step['type']) for step in pipeline
    ]
    found = [
        step for step, kind in kinds if isinstance(kind, type) and issubclass(kind, LoadImageFromFile | LoadAnnotations)
    ]
    if len(found) != 2:
        message = 'must load the image once and the annotations once'
        raise ArgumentError(message, field='pipeline', received=[step['type'] for step in pipeline])
    return found
