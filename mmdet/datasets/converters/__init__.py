"""Converters of foreign annotation formats to COCO JSON and of results; the scripts in ``tools/dataset_converters`` and
``UFPMP-Det-Tools`` call them."""

from ...evaluation.convert_results import ResultsReport, results_to_txt, txt_to_results
from .mosaic_options import MosaicOptions, MosaicReport
from .mosaics import MosaicBuilder
from .uavdt import UAVDT_TEST_SEQUENCES, UAVDTReport, convert_uavdt
from .visdrone import VisDroneReport, convert_visdrone
from .voc import SplitReport, convert_voc

__all__ = [
    'MosaicBuilder', 'MosaicOptions', 'MosaicReport', 'ResultsReport', 'SplitReport', 'UAVDTReport', 'UAVDT_TEST_SEQUENCES',
    'VisDroneReport', 'convert_uavdt', 'convert_visdrone', 'convert_voc', 'results_to_txt', 'txt_to_results',
]  # fmt: skip
