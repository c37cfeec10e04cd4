"""Layout of one synthetic drone scene: where ground, roads, clusters and single objects go.

All random numbers come from one generator, so that a scene is a function of its seed. Places are chosen on the ground, in
metres; :mod:`mmdet.datasets.drone_scenes.drawing` turns them into pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from .drawing import (
    Box,
    Camera,
    Colour,
    Light,
    Mesh,
    Point,
    SceneObject,
    Sprite,
    fill,
    rectangle,
    render,
    render_tree,
    resolve_visibility,
)
from .objects import BUILDERS, building

LANE = 3.4  # metres
TRAFFIC = dict(car=0.40, van=0.17, truck=0.15, bus=0.12, motor=0.16)  # shares of the classes
CELLS_PER_METRE = 4


@dataclass(frozen=True)
class Scene:
    """``image`` (H, W, 3) uint8 BGR, the annotated ``objects``, and ``ignored`` regions without annotations."""

    image: np.ndarray
    objects: list[SceneObject]
    ignored: list[Box]


@dataclass(frozen=True)
class Road:
    """A straight road through ``centre`` with ``lanes`` lanes per direction; traffic keeps right."""

    centre: np.ndarray
    yaw: float
    lanes: int

    @property
    def half_width(self) -> float:
        """Metres from the middle of the road to its edge."""
        return self.lanes * LANE + 0.4

    def at(self, along: float | np.ndarray, across: float | np.ndarray) -> tuple[Any, Any]:
        """Ground x and y, ``along`` metres from the centre and ``across`` metres to the left, of the arguments' shape."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.centre[0] + c * along - s * across, self.centre[1] + s * along + c * across


class Plan:
    """Two bitmaps of the visible ground: ``zones`` (no plain ground) and ``taken`` (occupied by an object)."""

    def __init__(self, camera: Camera):
        width, height = camera.size_wh
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
        view = camera.to_ground(corners)
        self.low = view.min(0) - 12
        size = np.ceil((view.max(0) + 12 - self.low) * CELLS_PER_METRE).astype(int)
        self.zones = np.zeros((size[1], size[0]), np.uint8)
        self.taken = np.zeros_like(self.zones)

    def _cells(self, polygon: np.ndarray) -> np.ndarray:
        return np.rint((polygon - self.low) * CELLS_PER_METRE).astype(np.int32)

    def mark(self, grid: np.ndarray, polygon: np.ndarray) -> None:
        """Set the cells under a ground polygon (N, 2)."""
        cv2.fillConvexPoly(grid, self._cells(polygon), 1)

    def is_free(self, grid: np.ndarray, polygon: np.ndarray) -> bool:
        """Whether no cell under the ground polygon (N, 2) is set; cells outside the plan count as free."""
        cells = self._cells(polygon)
        (x1, y1), (x2, y2) = cells.min(0).tolist(), cells.max(0).tolist()
        x1, y1 = max(x1, 0), max(y1, 0)
        part = grid[y1 : max(y2 + 1, 0), x1 : max(x2 + 1, 0)]
        if not part.size or not part.any():
            return True
        footprint = np.zeros_like(part)
        cv2.fillConvexPoly(footprint, cells - np.array([x1, y1], np.int32), 1)
        return not (footprint & part).any()


class SceneBuilder:
    """Builds one scene from a generator; call :meth:`build` once."""

    def __init__(self, rng: np.random.Generator, size_wh: tuple[int, int], *, empty: bool = False):
        self.rng, self.size_wh, self.empty = rng, size_wh, empty
        width = size_wh[0]
        focal = width / 2 / np.tan(np.radians(rng.uniform(20, 29)))
        # Pixels per metre in the middle: a car of 4.5 m is 25-38 px long, and longer in every seventh scene.
        scale = (rng.uniform(9.0, 12.5) if rng.random() < 0.14 else rng.uniform(5.6, 8.4)) * width / 960
        self.camera = Camera(size_wh, focal, focal / scale, np.radians(rng.uniform(40, 68)))
        azimuth, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(35, 65))
        direction = (np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height))
        self.overcast = bool(rng.random() < 0.25)
        self.light = Light(direction, rng.uniform(0.72, 0.85) if self.overcast else rng.uniform(0.48, 0.62))
        self.plan = Plan(self.camera)
        self.sprites: list[Sprite] = []
        self.canvas: np.ndarray = np.zeros((size_wh[1], width, 3), np.uint8)

    def _clouds(self, *cells: int) -> np.ndarray:
        """Smooth noise (H, W) uint8 of several scales, each with that many cells across; made at half the size."""
        width, height = self.size_wh
        total: np.ndarray = np.empty(0, np.uint8)
        for i, count in enumerate(cells):
            grid = self.rng.integers(0, 256, (count * 9 // 16 + 2, count + 2), dtype=np.uint8)
            layer = cv2.resize(grid, (width // 2, height // 2), interpolation=cv2.INTER_LINEAR)
            share = 0.6 ** (i + 0.6)
            total = layer if i == 0 else cv2.addWeighted(total, 1 - share, layer, share, 0)
        return cv2.resize(total, self.size_wh, interpolation=cv2.INTER_LINEAR)

    def _grain(self, amount: float) -> None:
        """Add grey noise of standard deviation ``amount`` to each pixel of the canvas."""
        noise = cv2.cvtColor(self.rng.integers(0, 256, self.canvas.shape[:2], dtype=np.uint8), cv2.COLOR_GRAY2BGR)
        gain = amount / 74  # the standard deviation of the uniform noise
        cv2.addWeighted(self.canvas, 1.0, noise, gain, -128 * gain, dst=self.canvas)

    def draw_ground(self) -> None:
        """Fill the canvas with one kind of ground and some patches of other tones."""
        themes = (
            ((42, 84, 62), (74, 122, 104)),  # grass
            ((62, 92, 92), (120, 150, 156)),  # dry grass
            ((84, 104, 124), (132, 152, 172)),  # soil
            ((112, 116, 118), (156, 160, 160)),  # concrete
        )
        theme = themes[self.rng.choice(4, p=(0.42, 0.22, 0.18, 0.18))]
        low, high = np.array(theme, float) * self.rng.uniform(0.85, 1.15)
        ramp = np.linspace(0, 1, 256)[:, None]
        table = np.clip(low + (high - low) * ramp, 0, 255).astype(np.uint8)[None]  # (1, 256, 3)
        self.canvas = cv2.LUT(cv2.cvtColor(self._clouds(7, 30, 140), cv2.COLOR_GRAY2BGR), table)
        for _ in range(int(self.rng.integers(0, 4))):  # fields, lawns and bare patches
            patch = rectangle(self.random_ground(), self.rng.uniform(0, np.pi), *self.rng.uniform(25, 80, 2))
            tone = np.clip(low + (high - low) * self.rng.random() + self.rng.normal(0, 8, 3), 0, 255)
            fill(self.canvas, self.camera.project(patch), tone.tolist())
        self._grain(11.0)

    def random_ground(self, margin: float = 0.0) -> np.ndarray:
        """Ground point (2,) that is uniform over the image without a border of ``margin`` (a share of its sides)."""
        pixel = self.rng.uniform(margin, 1 - margin, 2) * self.size_wh
        return self.camera.to_ground(pixel)

    def surface(self, polygon: np.ndarray, colour: Colour) -> None:
        """Paint a ground polygon (N, 2) and mark it in ``zones``."""
        fill(self.canvas, self.camera.project(self.camera.in_front(polygon)), colour)
        self.plan.mark(self.plan.zones, polygon)

    def draw_roads(self, roads: list[Road]) -> None:
        """Paint kerbs, asphalt, lane lines and, before a junction, stop lines and zebra crossings."""
        rng = self.rng
        grey, long = rng.uniform(72, 118), 420.0
        asphalt = (grey + rng.uniform(-2, 8), grey, grey + rng.uniform(-6, 4))
        kerb = _tint(rng, grey + rng.uniform(35, 70), 5)
        for road in roads:
            if rng.random() < 0.8:
                self.surface(rectangle(road.centre, road.yaw, long, 2 * road.half_width + 5), kerb)
        for road in roads:
            self.surface(rectangle(road.centre, road.yaw, long, 2 * road.half_width), asphalt)
        paint = (205, 212, 212)
        clear = max(road.half_width for road in roads) + 4 if len(roads) > 1 else 0.0
        for road in roads:
            for lane in range(-road.lanes + 1, road.lanes):
                long = 9.0 if lane == 0 else 4.0  # the centre line has no gaps
                starts = np.arange(clear, 130.0, 9.0)
                starts = np.concatenate([-starts - long, starts])
                self.strips(road, starts + long / 2, lane * LANE, long, 0.2, paint)
            if clear:
                across = np.arange(-road.half_width + 0.7, road.half_width, 1.1)
                for side in (-1, 1):
                    self.strips(road, side * (clear - 1.7), across, 3.0, 0.55, paint)

    def strips(
        self,
        road: Road,
        along: float | np.ndarray,
        across: float | np.ndarray,
        length: float,
        width: float,
        colour: Colour,
    ) -> None:
        """Paint rectangles parallel to the road at the given offsets (broadcast, as for :meth:`Road.at`)."""
        along, across = np.broadcast_arrays(along, across)
        centres = np.stack(road.at(along, across), axis=-1)
        corners = rectangle(centres, road.yaw, length, width)  # (P, 4, 2)
        corners = corners[self.camera.depth(corners).min(-1) > self.camera.nearest]
        fill(self.canvas, self.camera.project(corners), colour)

    def in_view(self, centre: Point, margin: int = 30) -> bool:
        """Whether the ground point is in the image, or at most ``margin`` pixels outside."""
        x, y = self.camera.project_ground_point(float(centre[0]), float(centre[1]))
        return -margin < x < self.size_wh[0] + margin and -margin < y < self.size_wh[1] + margin

    def put(self, label: str, centre: Point, yaw: float, *, gap: float = 0.15, ignored: bool = False) -> None:
        """Place an object that is in view unless it would come closer than ``gap / 2`` metres to another one."""
        if self.empty or not self.in_view(centre):
            return
        mesh, length, width = BUILDERS[label](self.rng)
        footprint = rectangle(centre, yaw, length + gap, width + gap)
        if not self.plan.is_free(self.plan.taken, footprint):
            return
        sprite = render(mesh, self.camera, self.light, centre=centre, yaw=yaw, label=label)
        if sprite is not None:
            sprite.ignored = ignored
            self.plan.mark(self.plan.taken, footprint)
            self.sprites.append(sprite)

    def _pick(self, odds: dict[str, float]) -> str:
        """One of the names, drawn by their odds."""
        names = list(odds)
        return names[self.rng.choice(len(names), p=np.array(list(odds.values())) / sum(odds.values()))]

    def traffic(self, road: Road, *, queue: bool, clear: float, density: float) -> None:
        """Vehicles in the lanes, none within ``clear`` metres of the centre; ``queue``: one approach is a dense queue."""
        rng = self.rng
        queue_side = int(rng.integers(2)) if queue else -1
        for side in (0, 1):  # side 0 drives in the direction of the yaw
            sign, yaw = (1, road.yaw) if side == 0 else (-1, road.yaw + np.pi)
            for lane in range(road.lanes):
                across = -sign * (lane + 0.5) * LANE
                behind = clear + 2.5  # metres before the junction, measured backwards
                if side == queue_side:
                    for _ in range(int(rng.integers(4, 10))):
                        label = self._pick(dict(car=0.60, van=0.15, truck=0.08, bus=0.06, motor=0.11))
                        half = dict(car=2.3, van=2.8, truck=4.9, bus=5.9, motor=1.4)[label]
                        behind += half
                        self.put(label, road.at(-sign * behind, across + rng.normal(0, 0.2)), yaw + rng.normal(0, 0.02))
                        behind += half + rng.uniform(0.7, 1.9)
                position = -110.0 + rng.exponential(30.0)
                while position < 110.0:
                    label = self._pick(TRAFFIC)
                    if abs(position) > clear and (side != queue_side or position < -behind - 8 or position > clear):
                        shift = rng.normal(0, 0.25 if label != 'motor' else 0.8)
                        self.put(label, road.at(sign * position, across + shift), yaw + rng.normal(0, 0.03))
                    position += 13.0 + rng.exponential(38.0 / density)

    def car_park(self, yaw: float, *, heavy: bool, ignored: bool = False) -> bool:
        """Rows of parked vehicles on a paved rectangle (``heavy``: trucks or buses); False if there is no room."""
        rng = self.rng
        kind = ('bus', 'truck')[rng.integers(2)] if heavy else 'car'
        stall, deep = (4.1, 12.6) if heavy else (2.75, 5.4)
        columns, rows = (int(rng.integers(4, 8)), 1) if heavy else (int(rng.integers(7, 18)), int(rng.integers(2, 5)))
        aisle = [5.0 if row % 2 else 0.6 for row in range(rows)]
        length, width = columns * stall + 3, rows * deep + sum(aisle) + 2
        centre = self._room(yaw, length, width)
        if centre is None:
            return False
        lot = rectangle(centre, yaw, length, width)
        grey = rng.uniform(85, 140)
        self.surface(lot, (grey + 3, grey + 1, grey - 3))
        frame = Road(centre, yaw, 1)
        fullness = rng.uniform(0.6, 0.98)
        across = -width / 2 + 1
        for row in range(rows):
            across += aisle[row]
            starts = np.arange(columns + 1) * stall - columns * stall / 2
            self.strips(frame, starts, across + deep / 2, 0.14, deep, (200, 204, 204))
            for along in starts[:-1]:
                if rng.random() > fullness:
                    continue
                label = kind if rng.random() < 0.84 else ('truck' if heavy else 'van')
                heading = yaw + np.pi / 2 + (np.pi if rng.random() < 0.5 else 0.0) + rng.normal(0, 0.03)
                spot = frame.at(along + stall / 2 + rng.normal(0, 0.1), across + deep / 2 + rng.normal(0, 0.2))
                self.put(label, spot, heading, gap=0.0, ignored=ignored)
            across += deep
        self.plan.mark(self.plan.taken, lot)
        return True

    def crowd(self, *, ignored: bool = False) -> bool:
        """People close together on a paved square or the bare ground; False if there is no room."""
        rng = self.rng
        radius = rng.uniform(5.5, 11.0)
        yaw = rng.uniform(0, np.pi)
        centre = self._room(yaw, 2.3 * radius, 2.3 * radius)
        if centre is None:
            return False
        area = rectangle(centre, yaw, 2.3 * radius, 2.3 * radius)
        if rng.random() < 0.7:
            grey = rng.uniform(120, 170)
            self.surface(area, _tint(rng, grey, 12))
            tiles = np.arange(-radius, radius, 2.0)
            self.strips(Road(centre, yaw, 1), 0.0, tiles, 2.2 * radius, 0.12, (grey - 18,) * 3)
        for _ in range(int(rng.integers(16, 60))):
            spot = centre + np.clip(rng.normal(0, radius / 2.1, 2), -radius, radius)
            self.put('pedestrian', spot, rng.uniform(0, 2 * np.pi), gap=0.25, ignored=ignored)
        self.plan.mark(self.plan.zones, area)
        self.plan.mark(self.plan.taken, area)
        return True

    def motor_park(self, road: Road, clear: float) -> None:
        """Motorcycles side by side along the kerb, at least ``clear`` metres away from the centre."""
        rng = self.rng
        side = 1 if rng.random() < 0.5 else -1
        start, across = (clear + rng.uniform(0, 20)) * (1 if rng.random() < 0.5 else -1), side * (road.half_width + 1.6)
        lean = road.yaw + np.pi / 2 + rng.uniform(-0.4, 0.4)
        for i in range(int(rng.integers(7, 16))):
            if rng.random() < 0.88:
                spot = road.at(start + math.copysign(1.35 * i, start), across + rng.normal(0, 0.1))
                self.put('motor', spot, lean + rng.normal(0, 0.08))

    def _room(self, yaw: float, length: float, width: float) -> np.ndarray | None:
        """Centre (in the image) of a free rectangle of plain ground, or None if 25 tries find none."""
        for _ in range(25):
            centre = self.random_ground(0.1)
            if self.plan.is_free(self.plan.zones, rectangle(centre, yaw, length + 3, width + 3)):
                return centre
        return None

    def scatter(self, roads: list[Road]) -> None:
        """Single people beside the roads, and single people and vehicles on plain ground."""
        rng = self.rng
        for _ in range(int(rng.integers(3, 13))):
            road = roads[rng.integers(len(roads))]
            across = (1 if rng.random() < 0.5 else -1) * (road.half_width + rng.uniform(0.6, 2.4))
            self.put('pedestrian', road.at(rng.uniform(-70, 70), across), rng.uniform(0, 2 * np.pi), gap=0.4)
        for _ in range(int(rng.integers(1, 8))):
            spot = self.random_ground()
            label = self._pick(dict(pedestrian=0.45, car=0.2, van=0.1, truck=0.13, bus=0.04, motor=0.08))
            if self.plan.is_free(self.plan.zones, rectangle(spot, 0.0, 6, 6)):
                self.put(label, spot, rng.uniform(0, 2 * np.pi), gap=0.4)

    def furnish(self, roads: list[Road]) -> None:
        """Buildings, trees, crates and lamp posts, which hide objects or resemble them."""
        rng, plan = self.rng, self.plan
        for _ in range(int(rng.integers(0, 4))):
            length, width = rng.uniform(12, 30), rng.uniform(9, 16)
            yaw = roads[rng.integers(len(roads))].yaw + (0 if rng.random() < 0.8 else rng.uniform(0, np.pi))
            centre = self._room(yaw, length, width)
            if centre is not None:
                footprint = rectangle(centre, yaw, length, width)
                mesh = building(rng, length, width)
                self._add(render(mesh, self.camera, self.light, centre=centre, yaw=yaw))
                plan.mark(plan.zones, footprint)
                plan.mark(plan.taken, footprint)
        for _ in range(int(rng.integers(3, 30))):
            centre, radius = self.random_ground(-0.03), rng.uniform(1.4, 4.2)
            if plan.is_free(plan.zones, rectangle(centre, 0.0, 2.0, 2.0)):
                self._add(render_tree(rng, self.camera, self.light, centre=centre, radius=radius))
                plan.mark(plan.taken, rectangle(centre, 0.0, 1.2, 1.2))
        for _ in range(int(rng.integers(4, 20))):
            centre, yaw = self.random_ground(), rng.uniform(0, np.pi)
            a, b = rng.uniform(0.3, 1.3, 2)
            colour = _tint(rng, rng.uniform(60, 190), 26)
            mesh = Mesh().box((-a, a), (-b, b), (0.0, rng.uniform(0.4, 1.6)), colour)
            if rng.random() < 0.3:  # a lamp post
                mesh = Mesh().box((-0.1, 0.1), (-0.1, 0.1), (0.0, 6.0), (120, 120, 120))
                mesh.box((-0.15, 1.6), (-0.15, 0.15), (5.9, 6.1), (150, 150, 150), level=1)
            footprint = rectangle(centre, yaw, 2 * a + 0.4, 2 * b + 0.4)
            if plan.is_free(plan.zones, footprint) and plan.is_free(plan.taken, footprint):
                self._add(render(mesh, self.camera, self.light, centre=centre, yaw=yaw))
                plan.mark(plan.taken, footprint)

    def _add(self, sprite: Sprite | None) -> None:
        if sprite is not None:
            self.sprites.append(sprite)

    def build(self) -> Scene:
        """Draw the scene; the order of the steps decides which random numbers each of them gets."""
        rng = self.rng
        self.draw_ground()
        yaw = rng.uniform(0, np.pi)
        roads = [Road(self.random_ground(0.25), yaw, int(rng.integers(1, 4)))]
        junction = rng.random() < 0.55
        if junction:
            turn = np.pi / 2 + rng.uniform(-0.25, 0.25)
            roads.append(Road(roads[0].centre, yaw + turn, int(rng.integers(1, 3))))
        self.draw_roads(roads)
        clear = max(road.half_width for road in roads) + 4.0 if junction else 0.0
        sparse = rng.random() < 0.12
        if rng.random() < 0.07:  # one cluster without annotations
            self.crowd(ignored=True) if rng.random() < 0.5 else self.car_park(yaw, heavy=False, ignored=True)
        clusters = 0 if sparse else int(rng.integers(1, 4))
        for _ in range(clusters):
            kind = self._pick(dict(cars=0.36, people=0.34, heavy=0.14, motors=0.16))
            if kind == 'people':
                self.crowd()
            elif kind == 'motors':
                self.motor_park(roads[rng.integers(len(roads))], clear)
            else:
                self.car_park(yaw + (np.pi / 2 if rng.random() < 0.5 else 0.0), heavy=kind == 'heavy')
        queue = int(rng.integers(len(roads))) if junction and not sparse and rng.random() < 0.85 else -1
        density = rng.uniform(0.15, 0.4) if sparse else rng.uniform(0.5, 1.6)
        for i, road in enumerate(roads):
            self.traffic(road, queue=i == queue, clear=clear, density=density)
        self.furnish(roads)
        self.scatter(roads)
        self._grain(4.0)
        objects, kept, ignored = resolve_visibility(self.sprites, self.size_wh)
        self._paint(kept)
        return Scene(self.develop(), objects, ignored)

    def _paint(self, sprites: list[Sprite]) -> None:
        """Paint the shadows on the ground, then all sprites from far to near."""
        shadow: np.ndarray = np.zeros(self.canvas.shape[:2], np.uint8)
        for sprite in sprites:
            if sprite.shadow is not None:
                fill(shadow, sprite.shadow, 255)
        shadow = cv2.GaussianBlur(shadow, (0, 0), 2.5 if self.overcast else 0.8)
        strength = 0.22 if self.overcast else self.rng.uniform(0.42, 0.6)
        keep = cv2.cvtColor(cv2.convertScaleAbs(shadow, alpha=-strength, beta=255), cv2.COLOR_GRAY2BGR)
        cv2.multiply(self.canvas, keep, dst=self.canvas, scale=1 / 255)
        for sprite in sprites:
            sprite.paste(self.canvas)

    def develop(self) -> np.ndarray:
        """The canvas (H, W, 3) uint8 after lens and sensor: blur, uneven light, exposure, colour cast and noise."""
        rng = self.rng
        image: np.ndarray = cv2.GaussianBlur(self.canvas, (0, 0), rng.uniform(0.35, 0.75))
        light = cv2.convertScaleAbs(self._clouds(3), alpha=0.16, beta=214)
        image = cv2.multiply(image, cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), scale=1 / 235)
        gain, gamma, cast = rng.uniform(0.82, 1.18), rng.uniform(0.85, 1.15), rng.normal(1.0, 0.03, 3)
        ramp = (np.arange(256)[:, None] / 255) ** gamma * 255 * gain * cast
        self.canvas = cv2.LUT(image, np.clip(ramp, 0, 255).astype(np.uint8)[None])
        self._grain(rng.uniform(1.0, 4.0))
        return self.canvas


def _tint(rng: np.random.Generator, grey: float, spread: float) -> Colour:
    """A grey with noise of standard deviation ``spread`` in each channel."""
    return tuple(np.clip(grey + rng.normal(0, spread, 3), 0, 255).tolist())


def draw_scene(rng: np.random.Generator, size_wh: tuple[int, int] = (960, 540), *, empty: bool = False) -> Scene:
    """Draw one random drone scene; ``empty`` leaves out all objects, but not the scenery."""
    return SceneBuilder(rng, size_wh, empty=empty).build()
