"""``mmdet predict``."""

import os
from typing import Annotated, Any, Literal

from .options import ConfigOptions, InferenceOptions, TrackArguments
from .signature import Option


def _tile_size(word: str) -> tuple[int, int]:
    """Width and height of ``640`` or ``960x540``."""
    width, cross, height = word.lower().partition('x')
    sides = [width, height if cross else width]
    if not all(side.isdecimal() and int(side) for side in sides):
        raise ValueError(f'must be a size in pixels, such as 640 or 960x540. Received: {word}')
    return int(sides[0]), int(sides[1])


def _number_or_rule(word: str) -> float | str:
    return word if word.isalpha() else float(word)


def predict(
    model: str,
    inputs: Annotated[list[str], Option(metavar='INPUT')],
    *,
    weights: Annotated[str | None, Option(metavar='CKPT')] = None,
    out_dir: str = 'outputs',
    slice: Annotated[bool | str, Option(metavar='WxH', parse=_tile_size)] = False,
    overlap: float = 0.2,
    pack: bool = False,
    score_thr: Annotated[float, Option(('--pred-score-thr',))] = 0.3,
    batch_size: int = 1,
    device: str | None = None,
    random_weights: bool = False,
    recursive: bool = False,
    skip_broken: bool = False,
    value_range: Annotated[list[str] | None, Option(metavar=('LOW', 'HIGH'), parse=_number_or_rule)] = None,
    pictures: bool = True,
    json: bool = True,
    show: bool = False,
    print_result: bool = False,
    video: bool = False,
    max_frames: Annotated[int | None, Option(metavar='N')] = None,
    reconnects: Annotated[int, Option(metavar='N')] = 5,
    csv: bool = False,
    palette: Literal['none', 'coco', 'voc', 'random'] = 'none',
    inference: InferenceOptions,
    config: ConfigOptions,
    tracking: TrackArguments,
) -> int:
    """Detect objects in images or videos, and write annotated pictures and JSON.

        mmdet predict gfl_r50_fpn_1x_coco image.jpg
        mmdet predict configs/demo/gfl_demo.py images/ --weights work_dirs/gfl_demo/epoch_9.pth --slice 640
        mmdet predict gfl_r50_fpn_1x_coco flight.mp4 --track --line gate=0.5,0,0.5,1

    MODEL is the name of a model (``mmdet models`` lists them), a config file, or a checkpoint whose config lies in its folder. The published weights
    of a named model are fetched once, and their hash is checked; without network, the error says which file to put where.

    Videos, cameras (0) and streams (rtsp://) can be tracked and counted (page "Video and tracking" of the documentation); with --track, --line,
    --zone or --video a folder of images is one video, and an http:// address a stream. They are written to videos/, json/, mot/ and counts.json of the output folder.

    Args:
        model: name of a model, config file, or checkpoint with its config beside it.
        inputs: images, videos, folders, patterns in quotes, addresses, numbers of cameras.
        weights: checkpoint: path, URL or known name; default: the published weights of a named model, or those that a config names.
        out_dir: folder for vis/ and preds/, or for what belongs to videos.
        slice: detect in overlapping tiles of this size, such as 640 or 960x540, and on the whole image; 640 without a size.
        overlap: share of a tile that the next repeats.
        pack: look twice: pack the regions of what is found into a mosaic, and detect there again, by the same detector.
        score_thr: boxes with a score above this are drawn.
        batch_size: images loaded together.
        device: like 'cpu' or 'cuda:0'; default: the first GPU, or the CPU.
        random_weights: detect without a checkpoint, to try a structure.
        recursive: search folders below the input folder.
        skip_broken: leave out images that cannot be read; the exit status is then 1.
        value_range: what 16-bit and floating-point pixels mean: two values that become 0 and 255, or 'full' or 'minmax'.
        pictures: write annotated pictures.
        json: write the boxes as JSON.
        show: open a window for each picture.
        print_result: print the predictions.
        video: the inputs are videos, cameras or streams; a folder holds the frames of one.
        max_frames: stop after so many frames of videos.
        reconnects: tries to open a broken stream again.
        csv: of videos, also write one table of boxes.
        palette: colours of the classes; default: the dataset's.
    """
    from mmdet_runtime.clips import collect_clips
    from mmdet_runtime.sources import collect, is_stream, is_video
    from mmdet_runtime.track_arguments import read_track_arguments

    from ..apis import DetInferencer
    from ..apis.prediction import config_and_weights
    from ..errors import ConfigError

    if slice and pack:
        raise ConfigError('--slice and --pack exclude each other')
    tracks = read_track_arguments(tracking, clips=video, high=score_thr)
    moving = video or tracks is not None or all(
        is_video(entry) or (is_stream(entry) and not os.path.exists(entry) and not entry.lower().startswith('http')) for entry in inputs
    )  # fmt: skip
    others = (
        dict(print_result=print_result, skip_broken=skip_broken)
        if moving
        else dict(max_frames=max_frames is not None, csv=csv)
    )
    if asked := next((name for name, given in others.items() if given), None):
        message = (
            'is for images; of videos, what fails is counted'
            if moving
            else 'is for videos, cameras and streams; give --video, too'
        )
        raise ConfigError(message, field=f'--{asked.replace("_", "-")}')
    options = {**inference.as_cfg_options(), **(config.cfg_options or {})}
    found, weights = config_and_weights(model, weights, options, trust_checkpoint=config.trust_checkpoint)
    if moving:
        collect_clips(inputs, recursive=recursive)
    elif not skip_broken:  # what is not there is said before weights are fetched
        collect(inputs, recursive=recursive)
    tile_wh: Any = (640, 640) if slice is True else slice or None
    if pack or tile_wh:
        from ..config.stages import composite_config

        found = composite_config(found, tile_wh=tile_wh, overlap=overlap)
    inferencer = DetInferencer(
        found, weights, device, palette=palette, trust_checkpoint=config.trust_checkpoint, value_range=_pixel_range(value_range),
        backend=inference.backend, precision=inference.backend_precision, show_progress=not moving, random_weights=random_weights,
    )  # fmt: skip
    if moving:
        from ..apis.videos import detect_in_videos

        chosen = dict(video=pictures, json=json, csv=csv, mot=tracks is not None)
        report = detect_in_videos(
            inferencer, inputs, out_dir, kinds=[kind for kind, wanted in chosen.items() if wanted], tracking=tracks, score_thr=score_thr,
            batch_size=batch_size, show=show, recursive=recursive, max_frames=max_frames, reconnects=reconnects, fps=tracking.fps,
        )  # fmt: skip
        print('\n'.join([*report.lines(), *([f'results are in {out_dir}'] if report.written else [])]))
        return report.status
    result = inferencer(
        inputs[0] if len(inputs) == 1 else inputs, batch_size=batch_size, show=show, no_save_vis=not pictures,
        pred_score_thr=score_thr, print_result=print_result, no_save_pred=not json, out_dir=out_dir, recursive=recursive,
        skip_broken=skip_broken,
    )  # fmt: skip
    written = f'; results are in {out_dir}' if pictures or json else ''
    print(f'{len(result["predictions"])} images done{written}')
    return int(bool(result['skipped']))


def _pixel_range(words: Any) -> Any:
    """What ``--value-range`` means: the name of a rule, or two numbers."""
    return words if words is None else words[0] if len(words) == 1 else tuple(words)
