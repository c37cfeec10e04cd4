"""``mmdet convert``."""

from typing import Annotated, Literal

from .signature import Option


def convert(
    source: Annotated[str, Option(metavar='SRC')],
    target: Annotated[str, Option(metavar='DST')],
    *,
    to: Literal['coco', 'yolo', 'voc', 'visdrone', 'csv', 'labelme'],
    from_: Annotated[str | None, Option(metavar='FORMAT')] = None,
    images: str | None = None,
    classes: list[str] | None = None,
    rename: Annotated[dict | None, Option(metavar='OLD=NEW')] = None,
    rest: Literal['drop', 'crowd'] = 'drop',
    split: str | None = None,
    image_files: Literal['leave', 'link', 'copy'] = 'leave',
    zero_based: bool = False,
) -> None:
    """Convert annotations between COCO, YOLO, VOC, VisDrone, UAVDT, CSV and LabelMe.

        mmdet convert data/my_yolo data/my_coco --to coco
        mmdet convert data/BCCD data/bccd_yolo --to yolo --image-files link

    The format of SRC is recognised. DST is a file (.json, .csv) or a folder, which must not exist or be empty. The page "Data formats" of the documentation
    says which field goes where.

    Args:
        source: file or folder of annotations.
        target: file or folder to write; nothing is overwritten.
        to: format to write.
        from_: format of SRC (default: recognised).
        images: folder of the images (default: where the format has them).
        classes: classes to keep, in this order (default: all).
        rename: names to write; several may become one class.
        rest: of boxes of other classes: leave them out, or make them crowds of every class.
        split: the split to convert (default: all).
        image_files: also link or copy the images into DST.
        zero_based: corners of VOC files count from 0, not from 1.
    """
    from ..datasets.converters.convert import convert as convert_annotations

    report = convert_annotations(
        source, target, to, kind=from_, image_root=images, classes=classes, split=split, images=image_files,
        zero_based=zero_based, rename=rename, rest=rest,
    )  # fmt: skip
    print(report)
