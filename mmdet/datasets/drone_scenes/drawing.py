"""Drawing of single objects for the synthetic drone scenes: pinhole camera, meshes of boxes, sprites, visibility.

World: metres, x right, y away from the camera, z up; the camera looks from above at the world's origin on flat ground.
Image: pixels; pixel ``i`` covers ``[i, i + 1)``. A *mesh* is a list of boxes (frusta). Its visible faces are filled one by
one on a small supersampled canvas, which gives a :class:`Sprite` with its coverage; bounding boxes are read from the
covered pixels. Letters: B boxes of a mesh, F = 5 faces of a box, N points, P polygons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

MIN_SIDE = 3  # an object is removed from the scene if a side of its visible part is shorter than this (pixels)
MIN_VISIBLE = 0.35  # or if less than this share of it is visible (the rest is hidden or outside the image)

Colour = Sequence[float]  # blue, green, red, 0..255
Point = np.ndarray | tuple[float, float]  # on the ground: x and y in metres
Box = tuple[int, int, int, int]  # x, y, width, height in pixels

# Corners of a frustum: bit 0 = +x, bit 1 = +y, bit 2 = top. Faces: left (+y), right (-y), front (+x), rear (-x), roof,
# counter-clockwise seen from outside, so that the cross product of the first edges points outward.
_FACES = np.array([[2, 6, 7, 3], [0, 1, 5, 4], [1, 3, 7, 5], [0, 4, 6, 2], [4, 5, 7, 6]])


def _corner_matrix() -> np.ndarray:
    """Linear map (9, 24) from the numbers of a box (x, y and z range; rear, front and side taper) to its eight corners."""
    matrix = np.zeros((9, 8, 3))
    for corner in range(8):
        right, left, top = corner & 1, corner >> 1 & 1, corner >> 2
        matrix[right, corner, 0] = matrix[2 + left, corner, 1] = matrix[4 + top, corner, 2] = 1
        matrix[7 if right else 6, corner, 0] = -top if right else top
        matrix[8, corner, 1] = -top if left else top
    return matrix.reshape(9, 24)


_CORNERS = _corner_matrix()


@dataclass(frozen=True)
class Camera:
    """Pinhole camera above the plane z = 0."""

    size_wh: tuple[int, int]  # image size in pixels
    focal: float  # focal length in pixels
    distance: float  # metres from the camera to the ground point in the image centre
    pitch: float  # radians from the horizon down to the viewing direction; pi/2 looks straight down

    @property
    def position(self) -> np.ndarray:
        """Camera centre in the world. (3,)"""
        return np.array([0.0, -self.distance * math.cos(self.pitch), self.distance * math.sin(self.pitch)])

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Distance (...) in metres along the viewing direction of world points (..., 3) or ground points (..., 2)."""
        height = points[..., 2] * math.sin(self.pitch) if points.shape[-1] == 3 else 0.0
        return points[..., 1] * math.cos(self.pitch) - height + self.distance

    @property
    def nearest(self) -> float:
        """Smallest depth in metres at which anything is drawn; the visible ground is always farther away."""
        return 0.3 * self.distance

    def in_front(self, polygon: np.ndarray) -> np.ndarray:
        """Cut a convex ground polygon (N, 2) to the part farther away than ``nearest``: (M, 2), M = 0 or 3..N + 1."""
        over = self.depth(polygon) - self.nearest
        kept = []
        for i in range(len(polygon)):
            a, b = over[i - 1], over[i]
            if (a > 0) != (b > 0):
                kept.append(polygon[i - 1] + (polygon[i] - polygon[i - 1]) * (a / (a - b)))
            if b > 0:
                kept.append(polygon[i])
        return np.array(kept).reshape(-1, 2)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Map world points (..., 3) or ground points (..., 2) to image points (..., 2), x and y in pixels."""
        sine, cosine = math.sin(self.pitch), math.cos(self.pitch)
        x, y = points[..., 0], points[..., 1]
        z = points[..., 2] if points.shape[-1] == 3 else 0.0
        scale = self.focal / np.maximum(y * cosine - z * sine + self.distance, 1.0)
        image = np.empty(points.shape[:-1] + (2,))
        image[..., 0] = x * scale + self.size_wh[0] / 2
        image[..., 1] = (y * sine + z * cosine) * -scale + self.size_wh[1] / 2
        return image

    def project_ground_point(self, x: float, y: float) -> tuple[float, float]:
        """As :meth:`project` for one ground point, in plain floats and a tenth of the time."""
        scale = self.focal / max(y * math.cos(self.pitch) + self.distance, 1.0)
        return x * scale + self.size_wh[0] / 2, y * math.sin(self.pitch) * -scale + self.size_wh[1] / 2

    def to_ground(self, pixels: np.ndarray) -> np.ndarray:
        """Map image points (..., 2) to the ground points (..., 2), x and y in metres, that they show."""
        u = (pixels[..., 0] - self.size_wh[0] / 2) / self.focal
        v = (pixels[..., 1] - self.size_wh[1] / 2) / self.focal
        y = -v * self.distance / (np.sin(self.pitch) + v * np.cos(self.pitch))
        return np.stack([u * (y * np.cos(self.pitch) + self.distance), y], axis=-1)


@dataclass(frozen=True)
class Light:
    """Sunlight: unit vector ``direction`` towards the sun, and brightness ``ambient`` (0..1) of faces turned away."""

    direction: tuple[float, float, float]
    ambient: float

    def shadow_of(self, points: np.ndarray) -> np.ndarray:
        """Ground points (..., 2) on which the shadows of world points (..., 3) fall."""
        lx, ly, lz = self.direction
        return points[..., :2] - points[..., 2:] * np.array([lx / lz, ly / lz])


@dataclass
class Sprite:
    """A drawn mesh; ``left`` and ``top`` are the place of its first pixel in the image, and may be negative."""

    bgr: np.ndarray  # (h, w, 3) uint8 colour, premultiplied by the coverage
    alpha: np.ndarray  # (h, w) uint8 coverage
    left: int
    top: int
    depth: float  # metres; sprites are painted from far to near
    label: str | None = None  # class name; None for scenery
    ignored: bool = False  # whether the object belongs to an ignored region instead of being annotated
    shadow: np.ndarray | None = field(default=None, repr=False)  # polygon (N, 2) in the image

    def window(self, size_wh: tuple[int, int]) -> tuple[slice, slice, slice, slice] | None:
        """Slices of the part inside the image: image rows and columns, sprite rows and columns. None if there is none."""
        h, w = self.alpha.shape
        x1, y1 = max(self.left, 0), max(self.top, 0)
        x2, y2 = min(self.left + w, size_wh[0]), min(self.top + h, size_wh[1])
        if x1 >= x2 or y1 >= y2:
            return None
        return np.s_[y1:y2, x1:x2, y1 - self.top : y2 - self.top, x1 - self.left : x2 - self.left]

    def paste(self, canvas: np.ndarray) -> None:
        """Blend into the uint8 (H, W, 3) canvas, in place."""
        window = self.window((canvas.shape[1], canvas.shape[0]))
        if window is None:
            return
        rows, columns, own_rows, own_columns = window
        keep = 255 - self.alpha[own_rows, own_columns, None].astype(np.uint16)
        under = canvas[rows, columns]
        canvas[rows, columns] = np.minimum(self.bgr[own_rows, own_columns] + (under * keep + 127) // 255, 255)


@dataclass(frozen=True)
class SceneObject:
    """Annotation of one object; truncation (0 or 1) and occlusion (0, 1 or 2) as VisDrone defines them.

    ``bbox`` is tight around the visible pixels of which the object covers half or more; its shadow does not count.
    """

    label: str
    bbox: Box
    truncation: int
    occlusion: int


def fill(canvas: np.ndarray, polygons: np.ndarray, colour: float | Colour) -> None:
    """Fill convex polygons (N, 2) or (P, N, 2) of image points in place, anti-aliased and cut to the image."""
    if not polygons.size:
        return
    limited = np.minimum(np.maximum(polygons * 16 - 8, -64000), 128000)
    for polygon in np.rint(limited).astype(np.int32).reshape(-1, *polygons.shape[-2:]):
        cv2.fillConvexPoly(canvas, polygon, colour, lineType=cv2.LINE_AA, shift=4)


def rectangle(centre: Point, yaw: float, length: float | np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Corners on the ground of rectangles turned by ``yaw`` radians, the direction of ``length``; all in metres.

    A centre (2,) gives corners (4, 2). Centres (P, 2), with one length and width or (P,) of them, give (P, 4, 2).
    """
    c, s = math.cos(yaw), math.sin(yaw)
    if np.ndim(centre) == 1:  # by far the most frequent case, therefore in plain floats
        (x, y), a, b = centre, length / 2, width / 2
        ac, as_, bc, bs = a * c, a * s, b * c, b * s
        return np.array(
            [
                [x - ac + bs, y - as_ - bc],
                [x + ac + bs, y + as_ - bc],
                [x + ac - bs, y + as_ + bc],
                [x - ac - bs, y - as_ + bc],
            ]
        )
    a, b = np.multiply.outer(length, (-0.5, 0.5, 0.5, -0.5)), np.multiply.outer(width, (-0.5, -0.5, 0.5, 0.5))
    corners = np.empty((*np.shape(centre)[:-1], 4, 2))
    corners[..., 0] = np.asarray(centre)[..., :1] + (a * c - b * s)
    corners[..., 1] = np.asarray(centre)[..., 1:] + (a * s + b * c)
    return corners


class Mesh:
    """Boxes in the object's own frame: x forward, y left, z up, metres, origin on the ground under the centre."""

    def __init__(self) -> None:
        self.bounds: list[tuple[float, ...]] = []
        self.colours: list[tuple[Colour, ...]] = []
        self.levels: list[int] = []

    def box(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        colour: Colour,
        *,
        taper: tuple[float, float, float] = (0.0, 0.0, 0.0),
        roof: Colour | None = None,
        front: Colour | None = None,
        level: int = 0,
    ) -> Mesh:
        """Add a frustum and return the mesh.

        Args:
            x, y, z: ranges of the floor and the height.
            colour: of all faces for which there is no other.
            taper: by how much the top is shorter at the rear, at the front, and narrower on each side.
            roof, front: colours of these faces.
            level: boxes of a higher level stand on those of a lower one and are painted later.
        """
        self.bounds.append((*x, *y, *z, *taper))
        self.colours.append((colour, colour, front or colour, colour, roof or colour))
        self.levels.append(level)
        return self

    def vertices(self) -> np.ndarray:
        """Corners (B, 8, 3) of all boxes."""
        return (np.array(self.bounds) @ _CORNERS).reshape(-1, 8, 3)


def render(
    mesh: Mesh, camera: Camera, light: Light, *, centre: Point, yaw: float, label: str | None = None
) -> Sprite | None:
    """Draw a mesh that stands on the ground at ``centre``; None if it covers no pixel by half. Takes 0.2 to 0.5 ms."""
    vertices = mesh.vertices()  # (B, 8, 3)
    c, s = math.cos(yaw), math.sin(yaw)
    vertices = vertices @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    vertices[..., :2] += centre
    image = camera.project(vertices)  # (B, 8, 2)
    low, high = image.min((0, 1)).tolist(), image.max((0, 1)).tolist()
    left, top = math.floor(low[0]) - 1, math.floor(low[1]) - 1
    width, height = math.ceil(high[0]) + 1 - left, math.ceil(high[1]) + 1 - top
    factor = 4 if max(width, height) <= 56 else 2

    # A face is visible where its corners, counter-clockwise from outside, run clockwise in the image (y points down).
    points = ((image[:, _FACES] - (left, top)) * factor - 0.5) * 16  # (B, F, 4, 2)
    points = np.ascontiguousarray(np.rint(points), dtype=np.int32)
    u, v = points[:, :, 1] - points[:, :, 0], points[:, :, 2] - points[:, :, 0]
    seen = (u[..., 0] * v[..., 1] < u[..., 1] * v[..., 0]).tolist()  # (B, F)
    # Taper does not change the light: the left, right, front, rear and roof faces of all boxes have the same shades.
    lx, ly, lz = light.direction
    front, side = lx * c + ly * s, ly * c - lx * s
    shade = [light.ambient + (1 - light.ambient) * max(dot, 0.0) for dot in (side, -side, front, -front, lz)]

    patch = np.zeros((height * factor, width * factor, 4), np.uint8)
    depths = camera.depth(vertices[:, 0] + vertices[:, 3]).tolist()  # of twice the middle of the floor: same order
    for b in sorted(range(len(depths)), key=lambda i: (mesh.levels[i], -depths[i])):
        for f in range(5):
            if seen[b][f]:
                k, (blue, green, red) = shade[f], mesh.colours[b][f]
                colour = (min(blue * k, 255), min(green * k, 255), min(red * k, 255), 255)
                cv2.fillConvexPoly(patch, points[b, f], colour, shift=4)
    if factor == 4:  # halving twice takes a seventh of the time of one reduction to a quarter
        patch = cv2.resize(patch, (width * 2, height * 2), interpolation=cv2.INTER_AREA)
    patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA)
    bgr, alpha = np.ascontiguousarray(patch[..., :3]), np.ascontiguousarray(patch[..., 3])
    if alpha.max() < 128:
        return None
    shadow = camera.project(light.shadow_of(vertices.reshape(-1, 3)))
    shadow = cv2.convexHull(shadow.astype(np.float32))[:, 0]
    depth = float(camera.depth(np.asarray(centre)))
    return Sprite(bgr, alpha, left, top, depth, label, shadow=shadow)


def render_tree(
    rng: np.random.Generator, camera: Camera, light: Light, *, centre: Point, radius: float
) -> Sprite | None:
    """Draw the crown of a tree as blobs of leaves, lighter towards the sun; None if its radius is below two pixels."""
    height = radius * rng.uniform(1.2, 1.8)
    crown = np.array([*centre, height])
    scale = camera.focal / float(camera.depth(crown))
    reach = radius * scale
    if reach < 2:
        return None
    middle = camera.project(crown)
    left, top = (np.floor(middle - reach * 1.25) - 1).astype(int).tolist()
    size = int(np.ceil(reach * 2.5)) + 3
    patch = np.zeros((size * 2, size * 2, 4), np.uint8)
    blobs = 22
    angle, away = rng.uniform(0, 2 * np.pi, blobs), np.sqrt(rng.random(blobs)) * 0.8
    x, y = np.cos(angle) * away, np.sin(angle) * away
    lx, ly, _ = light.direction
    bright = 0.55 + 0.25 * (x * lx - y * ly) + rng.uniform(-0.13, 0.13, blobs) + 0.16 * (1 - away)
    base = np.array([rng.uniform(20, 45), rng.uniform(85, 125), rng.uniform(45, 95)]) * 1.35
    spread = rng.uniform(0.22, 0.38, blobs)
    order = np.argsort(bright)
    at = np.rint((middle - (left, top) + np.stack([x, y], -1) * reach) * 32).astype(int)[order].tolist()
    radii = (spread * reach * 32).astype(int)[order].tolist()
    colours = np.minimum(base * bright[order, None], 255).tolist()
    for middle, wide, colour in zip(at, radii, colours):
        cv2.circle(patch, middle, wide, (*colour, 255), -1, shift=4)
    small = cv2.resize(patch, (size, size), interpolation=cv2.INTER_AREA)
    t = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    rim = np.stack([np.cos(t) * radius + centre[0], np.sin(t) * radius + centre[1], np.full(14, height)], axis=-1)
    shadow = camera.project(light.shadow_of(rim))
    depth = float(camera.depth(np.asarray(centre)))
    return Sprite(np.ascontiguousarray(small[..., :3]), small[..., 3].copy(), left, top, depth, shadow=shadow)


def resolve_visibility(
    sprites: list[Sprite], size_wh: tuple[int, int]
) -> tuple[list[SceneObject], list[Sprite], list[Box]]:
    """Determine from the pixels that each sprite covers which objects are visible, and their boxes.

    Objects of which too little is visible (``MIN_VISIBLE``, ``MIN_SIDE``) are removed from the scene, because they get no
    annotation. A removal may uncover other objects, so this is repeated until nothing is removed.

    Returns:
        ``(objects, kept, ignored)``: annotated objects, sprites to paint from far to near, ignored regions.
    """
    order = sorted(sprites, key=lambda sprite: -sprite.depth)
    masks = {id(sprite): cv2.inRange(sprite.alpha, 128, 255) for sprite in order}
    while True:
        owner = np.zeros((size_wh[1], size_wh[0]), np.uint16)  # 1-based index of the sprite on top
        for i, sprite in enumerate(order, start=1):
            window = sprite.window(size_wh)
            if window is not None:
                owner[window[:2]][masks[id(sprite)][window[2:]] > 0] = i
        kept: list[Sprite] = []
        # Of each object: the box of its visible pixels, and how many pixels it has, inside the image, and visible.
        seen_of: dict[int, tuple[Box, int, int, int]] = {}
        for i, sprite in enumerate(order, start=1):
            window = sprite.window(size_wh)
            if sprite.label is not None:
                if window is None:
                    continue
                mask, seen = masks[id(sprite)], cv2.inRange(owner[window[:2]], i, i)
                x, y, w, h = cv2.boundingRect(seen)
                visible, total = cv2.countNonZero(seen), cv2.countNonZero(mask)
                if min(w, h) < MIN_SIDE or visible < MIN_VISIBLE * total:
                    continue
                bbox = window[1].start + x, window[0].start + y, w, h
                seen_of[id(sprite)] = bbox, total, cv2.countNonZero(mask[window[2:]]), visible
            kept.append(sprite)
        if len(kept) == len(order):
            break
        order = kept
    ignored = []
    boxes = np.array([seen_of[id(sprite)][0] for sprite in kept if sprite.ignored])
    if len(boxes):  # one region around all ignored objects
        (left, top), (right, bottom) = boxes[:, :2].min(0).tolist(), (boxes[:, :2] + boxes[:, 2:]).max(0).tolist()
        ignored.append((left, top, right - left, bottom - top))
    objects = []
    for sprite in kept:
        if sprite.label is None or sprite.ignored:
            continue
        bbox, total, inside, visible = seen_of[id(sprite)]
        if any(_share_inside(bbox, region) > 0.5 for region in ignored):
            continue
        share = visible / inside
        occlusion = 0 if share > 0.95 else 1 if share >= 0.5 else 2
        objects.append(SceneObject(sprite.label, bbox, int(inside < total), occlusion))
    return objects, kept, ignored


def _share_inside(box: Box, region: Box) -> float:
    """Share of the area of ``box`` that lies inside ``region``."""
    w = min(box[0] + box[2], region[0] + region[2]) - max(box[0], region[0])
    h = min(box[1] + box[3], region[1] + region[3]) - max(box[1], region[1])
    return max(w, 0) * max(h, 0) / (box[2] * box[3])
