"""How mosaics are made, and what became of the boxes."""

from dataclasses import dataclass
from pathlib import Path

from mmdet.errors import ConfigError


@dataclass(frozen=True)
class MosaicOptions:
    """How mosaics are made. The defaults are the original's, but for its bugs.

    Attributes:
        expand: enlargement of the coarse boxes.
        mode, packing, max_side: see :func:`mmdet.core.ufp.UnifiedForegroundPacking`; use the same at test time.
        min_overlap: a box belongs to a region when their overlap exceeds this share of the smaller of the two.
        min_visible: leave out copies of which the tile shows no more than this share; 0 keeps all that show something.
        on_empty: an image without coarse boxes becomes its own mosaic (``'whole'``) or is left out (``'skip'``).
        drop_empty: leave out mosaics without a box, too.
        paint: paint ignored regions black, after the coarse detector saw the image: ``'none'``; ``'json'``, those of the annotation file
            (its list ``ignored_regions``, crowds, ``ignore``); else a folder of VisDrone's ``.txt`` files, rows of category 0.
        segmentation: ``'box'``, the corners of the moved box, or ``'none'``.
        quality: of JPEG files, 1..100.

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

    def __post_init__(self):
        for name, allowed in (('on_empty', ('whole', 'skip')), ('segmentation', ('box', 'none'))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f'must be one of {allowed}', field=name, received=getattr(self, name))
        for name, low, high in (('min_overlap', 0, 1), ('min_visible', 0, 1), ('quality', 1, 100)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f'must be in {low}..{high}', field=name, received=getattr(self, name))


@dataclass
class MosaicReport:
    """What became of the images and boxes. Ignored boxes are moved like others, but not counted.

    Attributes:
        path: the JSON file written.
        images: mosaics in it.
        objects: boxes of the source file.
        copies: boxes written, ignored ones among them.
        lost: boxes in no region (boxes without area among them).
        doubled: copies beyond the first.
        clipped: copies that were cut at the edge of their tile.
        parts: of these, copies of which less than half is in the tile: objects larger than the region.
        hidden: copies left out by ``min_visible``.
        without_objects: mosaics without a box.
        undetected: images without coarse boxes.
        left_out: images without mosaic, by ``on_empty`` or ``drop_empty``.
        painted: ignored regions painted.
        resized: images whose size in the source file is not that of the image; the image's counts.
        regions, mosaic_w, mosaic_h: means over the mosaics.
    """

    path: Path
    images: int = 0
    objects: int = 0
    copies: int = 0
    lost: int = 0
    doubled: int = 0
    clipped: int = 0
    parts: int = 0
    hidden: int = 0
    without_objects: int = 0
    undetected: int = 0
    left_out: int = 0
    painted: int = 0
    resized: int = 0
    regions: float = 0.0
    mosaic_w: float = 0.0
    mosaic_h: float = 0.0

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
