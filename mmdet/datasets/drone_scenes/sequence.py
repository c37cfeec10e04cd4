"""Synthetic drone videos with tracks: traffic that drives along a road under a camera that stands still.

Files of a set, as those of VisDrone-MOT::

    <root>/sequences/<name>/0000001.jpg     frames, from 1
    <root>/annotations/<name>.txt           frame,id,left,top,width,height,score,category,truncation,occlusion
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdet.errors import ConfigError, DataError
from mmdet.formats.images import write_image_file
from mmdet.utils.checks import is_int
from mmdet.utils.files import write_text
from mmdet.utils.progress import progress

from .dataset import _JPEG_QUALITY, CATEGORY_IDS
from .drawing import Mesh, SceneObject, Sprite, render, resolve_visibility
from .layout import LANE, TRAFFIC, Road, SceneBuilder
from .objects import BUILDERS

FPS = 10.0
_REACH = 110.0  # metres from the middle of the road to where it is out of every view


@dataclass(frozen=True)
class _Vehicle:
    number: int
    label: str
    mesh: Mesh
    sign: int  # 1 drives in the direction of the road's yaw, -1 against it
    across: float  # metres to the left of the road's middle
    start: float  # metres along its way at the first frame
    speed: float  # metres per second


def draw_sequence(
    rng: np.random.Generator, size_wh: tuple[int, int] = (960, 540), num_frames: int = 100, *, fps: float = FPS
) -> Iterator[tuple[np.ndarray, dict[int, SceneObject]]]:
    """Draw the frames of one video.

    Vehicles of a lane share one speed, so that they never meet; trees and buildings hide some of them for a while.

    Yields:
        The frame (H, W, 3) uint8 BGR, and the visible objects by the numbers of their tracks, from 1.
    """
    builder = SceneBuilder(rng, size_wh)
    builder.draw_ground()
    road = Road(builder.random_ground(0.25), rng.uniform(0, np.pi), int(rng.integers(1, 4)))
    builder.draw_roads([road])
    vehicles = _traffic(rng, road, num_frames / fps)
    builder.furnish([road])
    builder._grain(4.0)
    ground, scenery = builder.canvas, list(builder.sprites)
    look = int(rng.integers(2**32))  # shadows, lens and light are the same in every frame
    for frame in range(num_frames):
        moved = [sprite for each in vehicles if (sprite := _drawn(each, road, builder, frame / fps)) is not None]
        objects, kept, _ = resolve_visibility([*scenery, *moved], size_wh)
        builder.rng, builder.canvas = np.random.default_rng(look), ground.copy()
        builder._paint(kept)
        yield builder.develop(), {int(one.label.split()[1]): _named(one) for one in objects}


def _traffic(rng: np.random.Generator, road: Road, seconds: float) -> list[_Vehicle]:
    vehicles: list[_Vehicle] = []
    shares = np.array(list(TRAFFIC.values())) / sum(TRAFFIC.values())
    for sign in (1, -1):
        for lane in range(road.lanes):
            across, speed = -sign * (lane + 0.5) * LANE, rng.uniform(5.0, 12.0)
            along = -_REACH - speed * seconds + rng.exponential(20.0)
            while along < _REACH:
                label = str(rng.choice(list(TRAFFIC), p=shares))
                mesh = BUILDERS[label](rng)[0]
                shift = rng.normal(0, 0.25 if label != 'motor' else 0.8)
                vehicles.append(_Vehicle(len(vehicles) + 1, label, mesh, sign, across + shift, along, speed))
                along += 13.0 + rng.exponential(25.0)
    return vehicles


def _drawn(vehicle: _Vehicle, road: Road, builder: SceneBuilder, seconds: float) -> Sprite | None:
    """A vehicle after some seconds, its number in the label; None out of view."""
    centre = road.at(vehicle.sign * (vehicle.start + vehicle.speed * seconds), vehicle.across)
    if not builder.in_view(centre):
        return None
    yaw = road.yaw + (0.0 if vehicle.sign == 1 else np.pi)
    label = f'{vehicle.label} {vehicle.number}'
    return render(vehicle.mesh, builder.camera, builder.light, centre=centre, yaw=yaw, label=label)


def _named(one: SceneObject) -> SceneObject:
    return SceneObject(one.label.split()[0], one.bbox, one.truncation, one.occlusion)


def generate_sequences(
    out_dir: str | os.PathLike,
    *,
    num_sequences: int = 1,
    num_frames: int = 100,
    size_wh: tuple[int, int] = (960, 540),
    seed: int = 0,
    fps: float = FPS,
) -> Path:
    """Write videos with their tracks; a video depends on the seed, its number, the size and the rate only. Returns ``out_dir`` as a path.

    Raises:
        ConfigError: impossible arguments.
        DataError: a sequence of that name is there already.
    """
    for name, value, least, most in (('num_sequences', num_sequences, 1, 999), ('num_frames', num_frames, 1, 99999)):
        if not is_int(value, least) or value > most:
            raise ConfigError(f'must be an integer in {least}..{most}', field=name, received=value)
    if len(size_wh) != 2 or not all(is_int(side, 160) and side <= 4096 for side in size_wh):
        raise ConfigError('must be width and height from 160 to 4096', field='size_wh', received=size_wh)
    if not is_int(seed, 0):
        raise ConfigError('must be an integer of at least 0', field='seed', received=seed)
    root = Path(out_dir)
    names = [f'drone{seed:04}_{number:05}_v' for number in range(1, num_sequences + 1)]
    for name in names:
        if (root / 'sequences' / name).exists() or (root / 'annotations' / f'{name}.txt').exists():
            raise DataError('is there already; choose another folder or seed', file=root / 'sequences' / name)
    for number, name in enumerate(names, 1):
        rng = np.random.default_rng((seed, number, *size_wh))
        rows = []
        frames = draw_sequence(rng, size_wh, num_frames, fps=fps)
        for frame, (image, objects) in enumerate(progress(frames, name, total=num_frames), 1):
            write_image_file(root / 'sequences' / name / f'{frame:07}.jpg', image, _JPEG_QUALITY)
            rows += [
                f'{frame},{track},{",".join(map(str, one.bbox))},1,{CATEGORY_IDS[one.label]},{one.truncation},{one.occlusion}\n'
                for track, one in sorted(objects.items())
            ]
        write_text(root / 'annotations' / f'{name}.txt', ''.join(rows))
    return root
