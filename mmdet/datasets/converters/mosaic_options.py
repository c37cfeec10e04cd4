"""The options by which mosaics are made, and the report about them."""

from dataclasses import dataclass
from pathlib import Path

from mmdet.errors import ConfigError
from mmdet.formats.pixels import ValueRange, check_value_range


@dataclass(frozen=True)
class MosaicOptions:
    """How mosaics are made. The defaults are those of the original code without its bugs.

    Attributes:
        expand: factor by which the coarse boxes are enlarged.
        mode, packing, max_side: see :func:`mmdet.core.ufp.UnifiedForegroundPacking`; use the same values at test time.
        min_overlap: a box belongs to a region if their overlap exceeds this share of the smaller of the two.
        min_visible: leave out copies of which the tile shows this share or less; 0 keeps all that are visible at all.
        on_empty: an image without coarse boxes becomes its own mosaic (``'whole'``) or is left out (``'skip'``).
        drop_empty: leave out mosaics without a box.
        paint: paint ignored regions black, after the coarse detector has seen the image: ``'none'``; ``'json'``, those of the annotation
            file (its list ``ignored_regions``, ``iscrowd``, ``ignore``); or a folder of VisDrone's ``.txt`` files, for rows of category 0.
        segmentation: ``'box'``, the corners of the moved box, or ``'none'``.
        quality: of JPEG files, 1..100.
        value_range: how images of more than 8 bits become 0..255, see :mod:`mmdet.formats.pixels`; mosaics have 8 bits.

    Raises:
        ConfigError: a value out of range.
    """

    expand: float = 1.5
    mode: str = 'reference'
    packing: str = 'guillotine'
    max_side: float | None = None
    min_overlap: float = 0.9
    min_visible: float = 0.0
    on_empty: str = 'whole'
    drop_empty: bool = False
    paint: str = 'none'
    segmentation: str = 'box'
    quality: int = 95
    value_range: ValueRange = None

    def __post_init__(self):
        check_value_range(self.value_range)
        for name, allowed in (('on_empty', ('whole', 'skip')), ('segmentation', ('box', 'none'))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f'must be one of {allowed}', field=name, received=getattr(self, name))
        for name, low, high in (('min_overlap', 0, 1), ('min_visible', 0, 1), ('quality', 1, 100)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f'must be in {low}..{high}', field=name, received=getattr(self, name))


@dataclass
class MosaicReport:
    """How many images and boxes were moved. Ignored boxes are moved like others, but only ``copies`` counts them."""

    path: Path  # of the JSON file written
    images: int = 0  # mosaics in the file
    objects: int = 0  # boxes of the source file
    copies: int = 0  # boxes written, including ignored ones
    lost: int = 0  # boxes in no region, including boxes without area
    doubled: int = 0  # copies of a box beyond its first
    clipped: int = 0  # copies that were cut at the edge of their tile
    parts: int = 0  # of these, copies of which less than half is in the tile: objects larger than the region
    hidden: int = 0  # copies left out by ``min_visible``
    without_objects: int = 0  # mosaics without a box
    undetected: int = 0  # images without coarse boxes
    left_out: int = 0  # images without mosaic, by ``on_empty`` or ``drop_empty``
    painted: int = 0  # ignored regions painted
    resized: int = 0  # images whose size differs from the one in the source file, which is not used
    regions: float = 0.0  # mean number of regions of a mosaic
    mosaic_w: float = 0.0  # mean width of the mosaics in pixels
    mosaic_h: float = 0.0  # mean height of the mosaics in pixels

    def __str__(self) -> str:
        share = f' ({100 * self.lost / self.objects:.1f} %)' if self.objects else ''
        lines = [
            f'{self.images} mosaics, {self.copies} boxes -> {self.path}',
            f'  on average {self.regions:.1f} regions, {self.mosaic_w:.0f} x {self.mosaic_h:.0f} pixels',
            f'  of {self.objects} boxes {self.lost}{share} lie in no region and are lost; {self.doubled} copies are second or later ones',
            f'  {self.clipped} copies were cut at their tile, {self.parts} of them by more than half',
        ]
        notes = {
            'copies left out by min_visible': self.hidden,
            'mosaics without a box': self.without_objects,
            'images without a coarse box': self.undetected,
            'images left out': self.left_out,
            'ignored regions painted': self.painted,
            'images of another size than the annotation file says': self.resized,
        }
        return '\n'.join(lines + [f'  {name}: {count}' for name, count in notes.items() if count])
