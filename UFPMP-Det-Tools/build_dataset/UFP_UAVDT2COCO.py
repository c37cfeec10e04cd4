"""Mosaics of UAVDT for MP-Det: the coarse detector's boxes, packed; images and a COCO file.

    python UFPMP-Det-Tools/build_dataset/UFP_UAVDT2COCO.py \\
        configs/UFPMP-Det/UAVDT_coarse_det.py work_dirs/UAVDT_coarse_det/epoch_12.pth \\
        data/UAVDT/UAV-benchmark-M data/UAVDT/annotations/UAVDT-train.json \\
        data/UAVDT/UAV-benchmark-M-ufp data/UAVDT/annotations/UAVDT-train-ufp.json --paint-ignored

--paint-ignored makes the ignored areas of the annotation file black, for training only: leave it out for test.
Started again, it goes on where it stopped. Several GPUs: torchrun --nproc_per_node N UFPMP-Det-Tools/build_dataset/UFP_UAVDT2COCO.py ...
"""

from mmdet.apis.build_mosaics import build_from_arguments, mosaic_parser
from mmdet.utils import reports_user_errors


@reports_user_errors
def main(argv=None) -> None:
    report = build_from_arguments(mosaic_parser(__doc__, with_txt=False).parse_args(argv))
    if report is not None:
        print(report)


if __name__ == '__main__':
    main()
