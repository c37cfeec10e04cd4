"""``mmdet doctor``."""

from pathlib import Path
from typing import Annotated

from .signature import Option


def doctor(
    dataset: list[str],
    *,
    out_dir: str | None = None,
    images: str | None = None,
    sizes: Annotated[str | None, Option(metavar='FILE')] = None,
    input_size: Annotated[tuple[int, int] | None, Option(metavar=('WIDTH', 'HEIGHT'))] = None,
    headers_only: bool = False,
    workers: int = 0,
    strict: bool = False,
    cfg_options: dict | None = None,
) -> int:
    """Examine a data set before it is trained on: what is in it, what is wrong with it, and what to do.

        mmdet doctor CONFIG [IMAGES]
        mmdet doctor ANNOTATIONS [ANNOTATIONS ...] [IMAGES]

    CONFIG is a config file (.py) or the name of one, whose data sets of all three loaders are read; ANNOTATIONS are files and folders of COCO,
    YOLO, VOC, VisDrone, UAVDT, CSV or LabelMe. The last argument may be the folder of the images. The command prints verdict lines by severity and writes
    ``dataset_doctor.html`` (one page with pictures of the worst cases) and ``dataset_doctor.json``.

    Args:
        dataset: a config, or annotation files and folders; then the image folder.
        out_dir: folder to write to; default: work_dirs/dataset_doctor/<name of the first argument>.
        images: folder of the images, as the last argument.
        sizes: lines "name width height", for annotations without sizes and images.
        input_size: limits of the long and the short edge at the input; default: those of the config, else 1333 800.
        headers_only: read the headers of the images, not their pixels.
        workers: processes that read the images; 0: this one.
        strict: end with status 1 if there is a verdict of level error.
        cfg_options: override config values.
    """
    from ..analysis.dataset_configs import read_config_parts
    from ..analysis.dataset_doctor import examine
    from ..analysis.dataset_inputs import fixed_size
    from ..analysis.dataset_output import write_examination
    from ..analysis.dataset_reading import read_parts, split_arguments, title_of
    from ..apis.known_models import config_by_name
    from ..formats.visdrone import read_image_sizes
    from ..utils import ConfigError, load_config, register_all_modules
    from ..utils.outputs import refuse_closed_folder

    if workers < 0:
        raise ConfigError('must be >= 0', field='--workers', received=workers)
    if input_size and min(input_size) < 1:
        raise ConfigError('must be two numbers of pixels > 0', field='--input-size', received=input_size)
    first = dataset[0] if Path(dataset[0]).exists() else config_by_name(dataset[0])
    paths, image_folder = split_arguments([first, *dataset[1:]], images)
    folder = Path(out_dir or Path('work_dirs/dataset_doctor', title_of(paths[:1])))
    refuse_closed_folder(folder / 'dataset_doctor.html', field='--out-dir')
    config = None
    if Path(paths[0]).suffix == '.py':
        config = load_config(paths[0], cfg_options)
        register_all_modules()
        parts = read_config_parts(config, image_folder)
    else:
        parts = read_parts(paths, image_folder, read_image_sizes(sizes) if sizes else None)
    size = fixed_size(*input_size) if input_size else None
    found = examine(parts, config=config, input_size=size, workers=workers, pixels=not headers_only)
    page, table = write_examination(
        found, folder, title=f'Data set {title_of(paths)}', inputs=[*paths, *([sizes] if sizes else [])]
    )
    print(found.summary())
    print(f'{page}\n{table}')
    return int(strict and found.has_errors)
