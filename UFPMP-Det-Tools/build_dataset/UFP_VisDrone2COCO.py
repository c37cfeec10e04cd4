"""Mosaics of VisDrone for MP-Det: the coarse detector's boxes, packed; images and a COCO file.

    python UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py \\
        configs/UFPMP-Det/coarse_det.py work_dirs/coarse_det/epoch_12.pth \\
        data/VisDrone2019-DET/VisDrone2019-DET-train/images data/VisDrone2019-DET/annotations/VisDrone2019-DET-train.json \\
        data/VisDrone2019-DET/VisDrone2019-DET-train-ufp data/VisDrone2019-DET/annotations/VisDrone2019-DET-train-ufp.json \\
        --txt_path data/VisDrone2019-DET/VisDrone2019-DET-train/annotations

Ignored regions are painted for training only: leave --txt_path out for val. Started again, it goes on where it stopped.
Several GPUs: torchrun --nproc_per_node N UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py ...
"""

from mmdet.apis.build_mosaics import build_from_arguments, mosaic_parser
from mmdet.utils import reports_user_errors


@reports_user_errors
def main(argv=None) -> None:
    report = build_from_arguments(mosaic_parser(__doc__, with_txt=True).parse_args(argv))
    if report is not None:
        print(report)


if __name__ == '__main__':
    main()
