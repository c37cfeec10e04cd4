"""UAVDT: vehicles seen from a drone, in COCO JSON (made by ``UFPMP-Det-Tools/build_dataset/UAVDT2COCO.py``)."""

from mmdet.registry import DATASETS

from .coco import CocoDataset


@DATASETS.register_module()
class UAVDTDataset(CocoDataset):
    """UAVDT-benchmark-M with its three classes; arguments as ``CocoDataset``. Du et al., ECCV 2018."""

    WARN_LEFT_OUT = 0.2  # a tenth of the boxes of its files are ignored areas
    METAINFO = {'classes': ('car', 'truck', 'bus'), 'palette': [(66, 135, 245), (245, 164, 66), (208, 60, 200)]}
