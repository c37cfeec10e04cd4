"""What can be wrong with a data set, and what to do about it: one table, from which the verdict lines are made."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..datasets.account import HOW_TO_FIND_THEM
from ..formats.pixels import HOW_TO_STATE

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
SEVERITIES = (ERROR, WARNING, NOTE)
_KEPT = 200  # examples of a finding that are kept for the JSON file


class FaultKind(NamedTuple):
    """A kind of finding: how severe it is, what it is called, and what to do about it.

    An *error* makes results wrong or stops a training, a *warning* probably costs accuracy or makes figures misleading, a *note* is worth knowing.
    """

    severity: str
    title: str
    advice: str


KINDS: dict[str, FaultKind] = {
    # ------------------------------------------------------------------------------------------------ files and records
    'unknown_images': FaultKind(ERROR, 'annotations of images that the file does not list', 'The file is refused as it is: remove these annotations, or add their images.'),
    'unknown_categories': FaultKind(ERROR, 'annotations of categories that the file does not list', 'The file is refused as it is: add the categories, or remove these annotations.'),
    'impossible_boxes': FaultKind(ERROR, 'boxes that are not four finite numbers', 'The file is refused as it is: write [left, top, width, height], or remove these annotations.'),
    'impossible_sizes': FaultKind(ERROR, 'images whose stated size is impossible', 'The file is refused as it is: write width and height in whole pixels, or leave both out.'),
    'repeated_image_ids': FaultKind(ERROR, 'image ids that occur twice', 'The file is refused as it is: number the images anew. Files that were joined without new ids look like this.'),
    'repeated_annotation_ids': FaultKind(ERROR, 'annotation ids that occur twice', 'The file is refused as it is: number the annotations anew.'),
    'repeated_category_ids': FaultKind(ERROR, 'category ids that occur twice', 'The file is refused as it is: give every category an id of its own.'),
    'refused': FaultKind(ERROR, 'the dataset of the config refuses the annotations', 'Mend what the message names; a training would stop with it.'),
    'missing_files': FaultKind(ERROR, 'images of the annotations without a file', 'Check the image folder (data_prefix), or remove these entries: a training replaces them by other samples, a test stops.'),
    'repeated_files': FaultKind(WARNING, 'image files that several entries name', 'Join the entries of one file: the boxes of each are background in the others.'),
    'unlisted_files': FaultKind(NOTE, 'image files that no annotation file names', 'They are not used. If they show no object, add entries without boxes: they are good negatives.'),
    'no_annotations': FaultKind(NOTE, 'images of a file without annotations', 'A test set whose annotations are kept back, which can be predicted, not evaluated; of YOLO, no label file lies where the images say (labels for images in the path).'),
    'empty_images': FaultKind(NOTE, 'images without a box', 'Right if they show no object. With filter_empty_gt=True a training leaves them out; without, they are negatives.'),
    'left_out': FaultKind(WARNING, 'records that are left out in reading', 'Draw, export or list them anew, or remove them on purpose.'),
    'unknown_sizes': FaultKind(NOTE, 'images whose size is not known', 'Neither the file nor an image states it: boxes were not compared with the borders. Give the image folder, or --sizes.'),
    # ------------------------------------------------------------------------------------------------------------ images
    'unreadable': FaultKind(ERROR, 'image files that cannot be read', 'Copy or export them again: a training replaces them by other samples, a test stops.'),
    'size_disagrees': FaultKind(ERROR, 'images whose pixels have another size than the file states', 'The boxes were made for another size: correct width and height in the file, or export boxes and images together.'),
    'size_swapped': FaultKind(ERROR, 'images whose width and height are exchanged in the file', 'The tool did not turn the photo by its EXIF orientation, or swapped the two: correct the file, and look whether the boxes lie right.'),
    'deep_pixels': FaultKind(ERROR, 'images of more than 8 bits, whose black and white are not stated', f'A training stops at the first of them: {HOW_TO_STATE}.'),
    'animated': FaultKind(NOTE, 'files of several pictures', 'Only the first picture of each is read: write the others as files of their own if they are annotated.'),
    'blank': FaultKind(WARNING, 'near-empty images', 'Look at them: a covered lens or a failed export. Remove them, unless such images will be met in use.'),
    'equal_across': FaultKind(ERROR, 'files that are in two splits, byte for byte', 'Remove them from one: results on images that were trained on are too good.'),
    'near_across': FaultKind(WARNING, 'near duplicates in two splits', 'Compare the pairs. Where they show one scene, put all its images into one split.'),
    'equal_within': FaultKind(WARNING, 'files that a split holds twice, byte for byte', 'Keep one of each, with the boxes of both: what only one of them has labelled is background in the other.'),
    'near_within': FaultKind(NOTE, 'near duplicates within a split', 'Copies or frames of one scene: they count twice, and add little. Keep them in one split.'),
    # ----------------------------------------------------------------------------------------------------------- classes
    'class_spelling': FaultKind(ERROR, 'class names that differ in case, blanks or hyphens only', 'Classes are matched by name, exactly: write each name the same way in all files and in the config.'),
    'repeated_names': FaultKind(ERROR, 'names of two categories of one file', 'Join the categories, or rename one: classes are matched by name.'),
    'missing_classes': FaultKind(ERROR, 'classes of the config that a file does not have', 'The dataset refuses the file: correct metainfo.classes, or set allow_missing_classes=True if the class is rightly absent.'),
    'left_out_classes': FaultKind(WARNING, 'boxes of classes that the config does not name', 'They are background in training. Add the classes to metainfo.classes and num_classes, or remove the boxes on purpose.'),
    'split_classes': FaultKind(WARNING, 'classes that have boxes in a test split and none in the training split', 'They cannot be learned: divide the images anew, class by class.'),
    'root_category': FaultKind(WARNING, 'root categories that no box uses', 'Roboflow writes the name of the project as a category. Leave it out of metainfo.classes; its AP would be that of no object.'),
    'unused_classes': FaultKind(NOTE, 'classes without a box', 'Nothing can be learned or measured for them.'),
    'imbalance': FaultKind(NOTE, 'classes with less than one box for a hundred of the largest class', 'Consider ClassBalancedDataset or ClassAwareSampler, and look at the AP of each class, not only at the mean.'),
    'other_ids': FaultKind(NOTE, 'classes whose category id is another one in another file', 'This toolbox goes by names. Tools that go by ids would mix the classes up.'),
    # ------------------------------------------------------------------------------------------------------------- boxes
    'normalised': FaultKind(ERROR, 'files whose boxes are shares of the image, not pixels', 'Multiply the boxes by width and height: COCO boxes are in pixels, and boxes below one pixel are left out.'),
    'corner_boxes': FaultKind(ERROR, 'files whose boxes look like two corners, not corner and size', 'COCO boxes are [left, top, width, height]: subtract left and top from the last two numbers.'),
    'rotated': FaultKind(ERROR, 'rotated boxes exported unrotated', 'CVAT writes the box as it was before it was rotated, which does not lie on the object: export polygons and enclose them, or redraw these boxes.'),
    'no_area': FaultKind(WARNING, 'boxes without area', 'They are left out. Remove them, or draw them again.'),
    'below_pixel': FaultKind(WARNING, 'boxes less than one pixel wide or high', 'They are left out. Usually slips of the mouse: remove them.'),
    'outside': FaultKind(WARNING, 'boxes outside their image', 'They are left out. Were the images cropped or resized after labelling?'),
    'over_border': FaultKind(WARNING, 'boxes that reach over the border of their image', 'They are clipped in training. Were the images cropped or resized after labelling?'),
    'repeated': FaultKind(WARNING, 'boxes that repeat one of the same class', 'Remove one of each pair: a detector that finds the object once misses the other box, and NMS removes a second detection.'),
    'two_classes': FaultKind(WARNING, 'boxes that equal one of another class', 'Decide for one class: at most one of the two can be learned.'),
    'thin': FaultKind(WARNING, 'extremely thin boxes', 'Look at them: slips of the mouse, or lines and wires, which boxes describe badly.'),
    'ignored_share': FaultKind(NOTE, 'boxes that are crowds, ignored or difficult', 'They are neither trained on nor evaluated. A large share is worth a look at the export.'),
    # --------------------------------------------------------------------------------------------------- size and config
    'last_bin': FaultKind(WARNING, 'boxes that reach beyond the last bin of the head', ''),
    'unmatched': FaultKind(WARNING, 'boxes that no prior is trained on', ''),
    'crowded': FaultKind(WARNING, 'images with more objects than the detector can find', HOW_TO_FIND_THEM),
    'slicing': FaultKind(NOTE, 'objects that are small at the input size', ''),
}  # fmt: skip


class Example(NamedTuple):
    """Where a finding can be seen: ``part`` (position), ``image`` (position in it), ``rows`` (boxes of the part to draw), ``text``."""

    part: int
    image: int
    rows: tuple[int, ...] = ()
    text: str = ''


@dataclass
class Verdict:
    """A line of the result.

    Attributes:
        code: key of :data:`KINDS`.
        counts: how many cases each part has, by its name; pairs of parts have names like 'train, val'.
        detail: more about the cases, a sentence or nothing.
        advice: what to do.
        examples: where to look.
        names: cases that are no boxes or images, as texts.
    """

    code: str
    counts: dict[str, int]
    detail: str = ''
    advice: str = ''
    examples: list[Example] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def severity(self) -> str:
        return KINDS[self.code].severity

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def text(self) -> str:
        """The line without the advice: what, how many, and in which parts."""
        title = KINDS[self.code].title
        parts = ', '.join(f'{name} {count:,}' for name, count in self.counts.items())
        where = f' ({parts})' if len(self.counts) > 1 else f' in {parts.rpartition(" ")[0]}'
        return f'{title[0].upper()}{title[1:]}: {self.total:,}{where}.' + (f' {self.detail}' if self.detail else '')


class Findings:
    """Collects cases into one verdict for each kind."""

    def __init__(self) -> None:
        self._verdicts: dict[str, Verdict] = {}

    def add(
        self,
        code: str,
        where: str,
        count: int,
        *,
        detail: str = '',
        advice: str = '',
        examples: Iterable[Example] = (),
        names: Iterable[str] = (),
    ) -> None:
        """Add ``count`` cases of a kind; nothing for 0."""
        if not count:
            return
        verdict = self._verdicts.setdefault(code, Verdict(code, {}, advice=advice or KINDS[code].advice))
        verdict.counts[where] = verdict.counts.get(where, 0) + int(count)
        if detail and detail not in verdict.detail:
            verdict.detail = f'{verdict.detail} {detail}'.strip()
        verdict.examples = [*verdict.examples, *examples][:_KEPT]
        verdict.names = [*verdict.names, *names][:_KEPT]

    def detail(self, code: str, text: str) -> None:
        """Add a sentence to a kind that was found."""
        verdict = self._verdicts[code]
        verdict.detail = f'{verdict.detail} {text}'.strip()

    def __contains__(self, code: str) -> bool:
        return code in self._verdicts

    def verdicts(self) -> list[Verdict]:
        """By severity, then in the order of :data:`KINDS`, in which the causes of others come first."""
        codes = list(KINDS)
        return sorted(self._verdicts.values(), key=lambda v: (SEVERITIES.index(v.severity), codes.index(v.code)))
