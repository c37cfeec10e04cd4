"""Converters of foreign annotation formats to COCO JSON; the scripts in ``tools/dataset_converters`` call them."""

from .voc import SplitReport, convert_voc, write_json

__all__ = ['SplitReport', 'convert_voc', 'write_json']
