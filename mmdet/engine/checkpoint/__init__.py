"""Checkpoints: where they come from, the names in them, loading, saving, converting."""

from .converting import convert_checkpoint, join_checkpoints, publish_checkpoint, write_checkpoint
from .loading import LoadReport, adapt_to_model, compare, load_into, unwrap
from .names import rename_reference_keys
from .reading import load_checkpoint_file, load_from_mmdet, trusting
from .sources import resolve_checkpoint

__all__ = [
    'LoadReport', 'adapt_to_model', 'compare', 'convert_checkpoint', 'join_checkpoints', 'load_checkpoint_file', 'load_from_mmdet', 'load_into',
    'publish_checkpoint', 'rename_reference_keys', 'resolve_checkpoint', 'trusting', 'unwrap', 'write_checkpoint',
]  # fmt: skip
