"""The images that an export is calibrated and checked on, and what its networks see of them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from ..config.stages import test_pipeline_config
from ..datasets.drone_scenes.layout import draw_scene
from ..errors import DataError, MMDetError
from ..export.plan import Plan
from ..export.settings import ExportSettings
from ..formats.annotations import read_table
from ..models.detectors import BaseDetector, CompositeDetector
from ..registry import DATASETS
from ..utils.files import temporary_folder
from .inference import ImagePipeline, predict_batch
from .sources import collect_inputs

_PARITY_IMAGES = 20
Image = np.ndarray | str


def calibration_images(cfg: Config, given: str | None, count: int) -> list[str]:
    """Paths of the images that int8 is calibrated by, spread over the set.

    Args:
        cfg: whose training data are taken where nothing is given.
        given: a folder, an image, or an annotation file with paths relative to its folder.
        count: how many at most.

    Raises:
        DataError: none were given, and the training data of the config are not here.
    """
    if given is None:
        paths, reason = _paths_of((cfg.get('train_dataloader') or {}).get('dataset'))
        if not paths:
            message = f'int8 needs images to calibrate by, and the training data of the config are not here ({reason}); give a folder or an annotation file'
            raise DataError(message, field='--calibration')
    elif Path(given).suffix.lower() in ('.json', '.csv', '.xml', '.txt'):
        names = read_table(given).require_file_names()
        paths = [str(Path(given).parent / name) for name in names]
        if paths and not Path(paths[0]).is_file():
            message = 'its images must be relative to its folder; give their folder in place of the annotation file'
            raise DataError(message, file=given, field='--calibration', received=names[0])
    else:
        paths = [image for image in collect_inputs(given, recursive=True) if isinstance(image, str)]
    return paths[:: max(len(paths) // count, 1)][:count]


def check_images(cfg: Config, settings: ExportSettings, log: Callable[[str], None]) -> tuple[list[Image], str]:
    """The images of the parity check, and what they are: those that are given, the first of the config's test data, or drawn scenes.

    Raises:
        DataError: one of them cannot be read, or ground truth was given that cannot be used: before anything is written.
    """
    given, images = settings.parity_images, list[Image]()
    if given is not None:
        images = collect_inputs(given)[:_PARITY_IMAGES]
    if given is None or settings.ann_file is not None:
        paths, reason = _paths_of((cfg.get('test_dataloader') or {}).get('dataset'))
        if not paths and settings.ann_file is not None:
            raise DataError(f'no images to measure AP on ({reason})', file=settings.ann_file, field='--ann')
        images = images or [*paths[:_PARITY_IMAGES]]
    if images:
        pipeline = ImagePipeline(test_pipeline_config(cfg))
        for number, image in enumerate(images):
            pipeline.load(image, number)
        return images, given or f'first {len(images)} images of the test data'
    log(
        f'the test data of the config are not here ({reason}): parity is checked on drawn drone scenes; --parity-images takes your own'
    )
    return [draw_scene(np.random.default_rng(seed)).image for seed in range(8)], 'drawn drone scenes'


def _paths_of(dataset: Any) -> tuple[list[str], str]:
    """Paths of the images of a dataset's config; or none, and why."""
    if not dataset:
        return [], 'it names none'
    if not is_there(dataset):
        return [], f'there is no {Path(dataset.get("data_root") or "") / str(dataset.get("ann_file"))}'
    try:
        built = DATASETS.build(dataset)
        paths = [built.get_data_info(number)['img_path'] for number in range(len(built))]
        missing = next((path for path in paths[:1] if not Path(path).is_file()), None)
        return ([], f'there is no {missing}') if missing else (paths, '')
    except (MMDetError, OSError, KeyError, AttributeError) as error:
        return [], str(error)


def is_there(dataset: dict) -> bool:
    """Whether the annotation file of a dataset's config exists: one that draws its images would begin to, otherwise."""
    while 'ann_file' not in dataset and ('dataset' in dataset or dataset.get('datasets')):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    file: Any = dataset.get('ann_file')
    names = file if isinstance(file, list | tuple) else [file]
    root = Path(dataset.get('data_root') or '')
    return all((root / name).exists() for name in names) if file else bool(dataset)


@contextlib.contextmanager
def recorded_inputs(
    model: BaseDetector, plan: Plan, cfg: Config, images: Sequence[Image], folder: Path, settings: ExportSettings
) -> Iterator[dict[str, Callable[[], Iterable[dict]]]]:
    """The inputs that every network gets when the detector runs on images, kept on the disk.

    Those of a fine stage are mosaics of what the coarse one finds, hence the whole detector runs. For a network of one batch size alone, each image is
    repeated.
    """
    batch = settings.batch if settings.static else None
    counts = dict.fromkeys(plan.graphs, 0)
    with contextlib.ExitStack() as stack, temporary_folder(folder / 'calibration') as store:
        for name, detector in plan.detectors.items():

            def keep(module: nn.Module, args: tuple, output: dict, name: str = name) -> None:
                for image, pixels in zip(args[0]['inputs'], plan.detectors[name].padded(output['inputs'])):
                    arrays = dict(image=pixels.numpy()[None], shape=np.array([image.shape[-2:]], np.int64))
                    arrays = {key: np.repeat(value, batch or 1, axis=0) for key, value in arrays.items()}
                    if plan.graphs[name].outputs == 'raw':
                        del arrays['shape']
                    np.savez(store / f'{name}_{counts[name]}.npz', **arrays)
                    counts[name] += 1

            stack.callback(detector.data_preprocessor.register_forward_hook(keep).remove)
        pipeline = ImagePipeline(test_pipeline_config(cfg)) if images else None
        for number, image in enumerate(images):
            assert pipeline is not None
            packed, _ = pipeline.load(image, number)
            if isinstance(model, CompositeDetector):
                predict_batch(model, [packed])
            else:
                model.data_preprocessor(pseudo_collate([packed]))

        def reader(name: str) -> Callable[[], Iterable[dict]]:
            return lambda: (dict(np.load(store / f'{name}_{number}.npz')) for number in range(counts[name]))

        yield {name: reader(name) for name in plan.graphs}
