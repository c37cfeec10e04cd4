"""The built-in dataset of synthetic drone scenes: generated on first use, the same bytes for the same seed.

Layout of a generated set (``<split>`` is ``train`` or ``val``)::

    <root>/<split>/images/<split>_00000.jpg
    <root>/<split>/annotations/<split>_00000.txt   VisDrone: x,y,w,h,score,category,truncation,occlusion
    <root>/annotations/<split>.json                COCO
    <root>/manifest.json                           what was asked for, and a count of what is there

Both kinds of annotations hold the same whole-pixel boxes and VisDrone's category ids. A region whose objects are not
annotated is a row of category 0 in the txt, and one ``iscrowd`` annotation a class in the JSON, which is what makes
COCO's rules ignore detections there.
"""

import contextlib
import json
import multiprocessing
import os
import shutil
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from mmdet.errors import ConfigError, DataError
from mmdet.registry import DATASETS

from ..coco import CocoDataset
from .layout import draw_scene

# Those of VisDrone's ten classes that are drawn, with VisDrone's category ids.
CATEGORY_IDS = {'pedestrian': 1, 'car': 4, 'van': 5, 'truck': 6, 'bus': 9, 'motor': 10}
PALETTE = [(220, 220, 0), (0, 200, 60), (0, 190, 220), (255, 140, 0), (220, 0, 220), (230, 40, 40)]  # RGB
VERSION = 2  # raise when the drawing changes: older sets are then refused instead of silently compared with newer ones
EMPTY_SHARE = 0.05
SPLITS = ('train', 'val')
_JPEG_QUALITY = 88
_OWN_ENTRIES = {'manifest.json', 'annotations', *SPLITS}


def generate_drone_scenes(
    out_dir: str | os.PathLike,
    *,
    num_train: int = 400,
    num_val: int = 80,
    size_wh: tuple[int, int] = (960, 540),
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Make the dataset in ``out_dir``, or do nothing where exactly this one already is.

    An image depends on ``(seed, split, index)`` and the size only, so neither ``workers`` nor the number of images changes
    it. Everything is written to a folder beside ``out_dir``, which takes its place when complete. A lock file beside it
    makes this safe for several processes at once: one generates, the others wait and then find it.

    Args:
        out_dir: root of the dataset.
        num_train: images of the training split.
        num_val: images of the validation split.
        size_wh: image size in pixels.
        seed: not negative.
        workers: processes; None takes one for each usable core.
        overwrite: replace a generated set that was made with other arguments; anything else is never deleted.

    Returns:
        ``out_dir`` as a path.

    Raises:
        ConfigError: impossible arguments.
        DataError: ``out_dir`` holds another set, or something that was not generated here.
    """
    request = _checked_request(num_train=num_train, num_val=num_val, size_wh=size_wh, seed=seed)
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ConfigError('must be a positive integer or None', field='workers', received=workers)
    root = Path(os.path.abspath(out_dir))
    if _is_complete(root, request):
        return Path(out_dir)
    root.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(root.parent / f'.{root.name}.lock'):
        if _is_complete(root, request):  # made by another process while this one waited
            return Path(out_dir)
        _refuse_foreign(root, request, overwrite=overwrite)
        for stale in root.parent.glob(f'.{root.name}.tmp-*'):  # of killed runs: only the holder of the lock makes any
            shutil.rmtree(stale, ignore_errors=True)
        temporary = root.parent / f'.{root.name}.tmp-{os.getpid()}'
        try:
            _write_dataset(temporary, request, workers, root)
            if root.exists():
                old = temporary.with_name(temporary.name + '-old')
                os.rename(root, old)
                os.rename(temporary, root)
                shutil.rmtree(old)
            else:
                os.rename(temporary, root)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Path(out_dir)


@DATASETS.register_module()
class DroneScenesDataset(CocoDataset):
    """Synthetic drone scenes, generated under ``data_root`` when the annotations are first read.

    Args:
        ann_file: as in ``CocoDataset``.
        data_root: root of the generated set.
        generate: arguments of :func:`generate_drone_scenes` (``num_train``, ``num_val``, ``size_wh``, ``seed``,
            ``workers``, ``overwrite``); None expects the files to be there.
        **kwargs: see ``CocoDataset``.

    Raises:
        ConfigError: unknown or impossible values in ``generate``.
        DataError: see :func:`generate_drone_scenes`.
    """

    METAINFO = {'classes': tuple(CATEGORY_IDS), 'palette': PALETTE}

    def __init__(
        self, ann_file: str = '', *args, data_root: str = 'data/drone_scenes/', generate: dict | None = None, **kwargs
    ):
        allowed = ('num_train', 'num_val', 'size_wh', 'seed', 'workers', 'overwrite')
        if generate is not None:
            unknown = set(generate) - set(allowed)
            if unknown:
                raise ConfigError(f'allowed keys: {", ".join(allowed)}', field='generate', received=sorted(unknown))
        self.generate = None if generate is None else dict(generate)
        super().__init__(ann_file, *args, data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        if self.generate is not None:
            generate_drone_scenes(self.data_root, **self.generate)
        return super().load_data_list()


def summarise_drone_scenes(root: str | os.PathLike, *, input_width: int = 480) -> dict:
    """Statistics of a generated set.

    Returns:
        for each split a dict: ``images``, ``empty``, ``objects``, ``per_image`` (0, 50, 100 % quantiles), ``classes`` (name
        to count), ``side`` (10, 25, 50, 75, 90 % quantiles of the square root of the box area, in pixels after a resize to
        ``input_width``).
    """
    summary = {}
    for split in SPLITS:
        document = json.loads((Path(root) / 'annotations' / f'{split}.json').read_text(encoding='utf-8'))
        images = {image['id']: image['width'] for image in document['images']}
        objects = [annotation for annotation in document['annotations'] if not annotation['iscrowd']]
        counts = Counter({image_id: 0 for image_id in images})
        counts.update(annotation['image_id'] for annotation in objects)
        names = {category['id']: category['name'] for category in document['categories']}
        per_class = Counter(names[annotation['category_id']] for annotation in objects)
        sides = [np.sqrt(a['area']) * input_width / images[a['image_id']] for a in objects]
        per_image = list(counts.values())
        summary[split] = {
            'images': len(images),
            'empty': per_image.count(0),
            'objects': len(objects),
            'per_image': np.quantile(per_image, (0, 0.5, 1)).tolist() if images else [],
            'classes': {name: per_class[name] for name in CATEGORY_IDS},
            'side': np.quantile(sides, (0.1, 0.25, 0.5, 0.75, 0.9)).round(1).tolist() if objects else [],
        }
    return summary


def draw_preview(size_wh: tuple[int, int] = (960, 540), *, seed: int = 0, indices=(0, 1, 2, 3)) -> np.ndarray:
    """Four scenes of the training split in a 2 x 2 grid, with their boxes. (2H, 2W, 3) uint8 BGR"""
    pictures = []
    for index in indices:
        scene = _scene(seed, 'train', index, size_wh)
        for item in scene.objects:
            x, y, w, h = item.bbox
            colour = PALETTE[list(CATEGORY_IDS).index(item.label)][::-1]
            cv2.rectangle(scene.image, (x - 1, y - 1), (x + w, y + h), colour, 1)
        for x, y, w, h in scene.ignored:
            cv2.rectangle(scene.image, (x, y), (x + w - 1, y + h - 1), (255, 255, 255), 2)
        pictures.append(scene.image)
    return np.vstack([np.hstack(pictures[:2]), np.hstack(pictures[2:])])


# ---- parts of generate_drone_scenes


def summary_text(summary: dict) -> str:
    """What :func:`summarise_drone_scenes` found, in lines."""
    lines = []
    for split, facts in summary.items():
        lines += [
            f'{split}: {facts["images"]} images ({facts["empty"]} empty), {facts["objects"]} objects',
            f'  objects an image, min / median / max: {facts["per_image"]}',
            f'  {", ".join(f"{name} {count}" for name, count in facts["classes"].items())}',
            f'  side in pixels at input width 480, quantiles 10/25/50/75/90 %: {facts["side"]}',
        ]
    return '\n'.join(lines)


def write_preview(path: Path, size_wh: tuple[int, int] = (960, 540), *, seed: int = 0) -> bool:
    """Write :func:`draw_preview` as a JPEG file, at 0.7 of its size; returns whether it could be written."""
    picture = cv2.resize(draw_preview(size_wh, seed=seed), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    path.parent.mkdir(parents=True, exist_ok=True)
    return cv2.imwrite(str(path), picture, (cv2.IMWRITE_JPEG_QUALITY, 60))


def _checked_request(*, num_train, num_val, size_wh, seed) -> dict:
    """The arguments that decide the content, as they stand in the manifest."""
    for name, value in (('num_train', num_train), ('num_val', num_val), ('seed', seed)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError('must be an integer, 0 or more', field=name, received=value)
    if num_train > 99999 or num_val > 99999:
        raise ConfigError('at most 99999 images a split', field='num_train, num_val', received=(num_train, num_val))
    size = list(size_wh) if isinstance(size_wh, list | tuple) else []
    if len(size) != 2 or not all(isinstance(side, int) and 160 <= side <= 4096 for side in size):
        raise ConfigError('must be (width, height), each 160 to 4096 pixels', field='size_wh', received=size_wh)
    return {
        'generator': 'drone_scenes',
        'version': VERSION,
        'num_train': num_train,
        'num_val': num_val,
        'size_wh': size,
        'seed': seed,
    }


def _read_manifest(root: Path) -> dict | None:
    try:
        manifest = json.loads((root / 'manifest.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):  # ValueError: broken JSON or no text; such a folder is not ours
        return None
    return manifest if isinstance(manifest, dict) and manifest.get('generator') == 'drone_scenes' else None


def _is_complete(root: Path, request: dict) -> bool:
    """True where the set of ``request`` is in ``root``, no file missing."""
    manifest = _read_manifest(root)
    if manifest is None or any(manifest.get(key) != value for key, value in request.items()):
        return False
    for split in SPLITS:
        expected = {_stem(split, index) for index in range(request[f'num_{split}'])}
        for folder, suffix in (('images', '.jpg'), ('annotations', '.txt')):
            try:
                found = {
                    entry.name
                    for entry in os.scandir(root / split / folder)
                    if entry.stat().st_size or suffix == '.txt'
                }
            except OSError:
                return False
            if found != {stem + suffix for stem in expected}:
                return False
        if not (root / 'annotations' / f'{split}.json').is_file():
            return False
    return True


def _refuse_foreign(root: Path, request: dict, *, overwrite: bool) -> None:
    """Raise unless ``root`` is free, or holds a set that may be replaced."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    manifest = _read_manifest(root)
    strangers = (
        sorted(entry.name for entry in root.iterdir() if entry.name not in _OWN_ENTRIES) if root.is_dir() else []
    )
    if manifest is None or strangers:
        raise DataError(
            'this folder holds something that was not generated here, and is left alone; choose another data_root',
            file=root,
            received=strangers[:5] or 'no manifest.json of generated drone scenes',
        )
    differing = {key: manifest.get(key) for key, value in request.items() if manifest.get(key) != value}
    if differing and not overwrite:
        raise DataError(
            f'drone scenes made with other arguments are here, wanted { ({key: request[key] for key in differing}) }; '
            'delete the folder, choose another data_root, or generate with overwrite=True',
            file=root,
            received=differing,
        )
    if not differing:
        print_log(
            f'{root}: files of the drone scenes are missing, they are generated again', logger='current', level=30
        )


@contextlib.contextmanager
def _exclusive(path: Path):
    """Hold an advisory lock; the system gives it back when its holder dies. The empty lock file stays."""
    import fcntl  # not on every system, and only for those who generate scenes

    with open(path, 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_log(f'waiting for another process that generates the dataset (lock {path})', logger='current')
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stem(split: str, index: int) -> str:
    return f'{split}_{index:05d}'


def _scene(seed: int, split: str, index: int, size_wh):
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    return draw_scene(rng, tuple(size_wh), empty=bool(rng.random() < EMPTY_SHARE))


def _write_image(job: tuple) -> tuple[list[tuple], list[tuple]]:
    """Draw and write one image with its txt; returns its rows (x, y, w, h, category, truncation, occlusion) and regions."""
    root, seed, split, index, size_wh = job
    scene = _scene(seed, split, index, size_wh)
    path = root / split / 'images' / f'{_stem(split, index)}.jpg'
    encoded = cv2.imencode('.jpg', scene.image, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1]
    path.write_bytes(encoded.tobytes())
    rows = [(*o.bbox, CATEGORY_IDS[o.label], o.truncation, o.occlusion) for o in scene.objects]
    lines = [f'{x},{y},{w},{h},0,0,0,0' for x, y, w, h in scene.ignored]
    lines += [f'{x},{y},{w},{h},1,{c},{t},{o}' for x, y, w, h, c, t, o in rows]
    text = root / split / 'annotations' / f'{_stem(split, index)}.txt'
    text.write_text(''.join(line + '\n' for line in lines), encoding='utf-8')
    return rows, scene.ignored


def _write_dataset(folder: Path, request: dict, workers: int | None, root: Path) -> None:
    """Write the whole set into ``folder``; ``root`` is only named in the log."""
    for split in SPLITS:
        (folder / split / 'images').mkdir(parents=True)
        (folder / split / 'annotations').mkdir()
    (folder / 'annotations').mkdir()
    jobs = [
        (folder, request['seed'], split, i, request['size_wh'])
        for split in SPLITS
        for i in range(request[f'num_{split}'])
    ]
    print_log(f'generating {len(jobs)} drone scenes in {root}', logger='current')
    start = time.perf_counter()
    results = _map(_write_image, jobs, workers)
    offset, counts = 0, {}
    for split in SPLITS:
        part = results[offset : offset + request[f'num_{split}']]
        offset += len(part)
        document = _coco_document(split, part, request['size_wh'])
        (folder / 'annotations' / f'{split}.json').write_text(json.dumps(document), encoding='utf-8')
        counts[split] = {'images': len(part), 'objects': sum(len(rows) for rows, _ in part)}
    manifest = {**request, 'content': counts}
    (folder / 'manifest.json').write_text(json.dumps(manifest, indent=2) + '\n', encoding='utf-8')
    seconds = time.perf_counter() - start
    print_log(f'{len(jobs)} drone scenes in {seconds:.1f} s ({len(jobs) / seconds:.1f} images/s)', logger='current')


def _map(function, jobs: list, workers: int | None) -> list:
    """Results in the order of the jobs, by so many processes."""
    if workers is None:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
        workers = min(usable, 16)
    workers = min(workers, (len(jobs) + 7) // 8)
    if multiprocessing.current_process().daemon:  # a loader worker may not have children
        workers = 1
    # Set before forking: one thread each, and no pool of OpenCV's threads that the children would inherit dead.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        if workers <= 1:
            return [function(job) for job in jobs]
        method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn'
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method)) as pool:
            return list(pool.map(function, jobs, chunksize=4))
    finally:
        cv2.setNumThreads(threads)


def _coco_document(split: str, images: list[tuple[list, list]], size_wh) -> dict:
    """COCO document of one split; image ids 0..N-1, annotation ids from 1."""
    width, height = size_wh
    records, annotations = [], []
    for image_id, (rows, ignored) in enumerate(images):
        name = f'{_stem(split, image_id)}.jpg'
        records.append({'id': image_id, 'file_name': name, 'width': width, 'height': height})
        boxes = [((x, y, w, h), category, 0, t, o) for x, y, w, h, category, t, o in rows]
        boxes += [(region, category, 1, 0, 0) for region in ignored for category in CATEGORY_IDS.values()]
        for bbox, category, crowd, truncation, occlusion in boxes:
            annotation = {'id': len(annotations) + 1, 'image_id': image_id, 'category_id': category}
            annotation |= {'bbox': list(bbox), 'area': bbox[2] * bbox[3], 'iscrowd': crowd}
            annotations.append(annotation | {'truncation': truncation, 'occlusion': occlusion})
    categories = [{'id': number, 'name': name, 'supercategory': 'none'} for name, number in CATEGORY_IDS.items()]
    return {'images': records, 'annotations': annotations, 'categories': categories}
