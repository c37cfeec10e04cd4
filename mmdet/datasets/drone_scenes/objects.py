"""Vehicles, people and buildings of the synthetic drone scenes, as meshes of boxes.

Every builder of :data:`BUILDERS` takes a random generator and returns a :data:`Built`: the mesh in its own frame (x
forward), and length and width of its footprint in metres. Vehicles have real sizes; people and motorcycles are larger.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .drawing import Colour, Mesh

Built = tuple[Mesh, float, float]
PEOPLE_SCALE = 2.0  # at their real size, people and motorcycles would cover 2 px at the demo's input size
MOTOR_SCALE = 1.8

_GLASS = (58, 46, 38)
_RUBBER = (34, 34, 34)
# Paints of cars as ((B, G, R), relative frequency), mostly without colour.
_PAINTS = (
    ((176, 174, 170), 4), ((128, 126, 122), 4), ((46, 44, 44), 4), ((44, 38, 168), 3), ((150, 74, 30), 3),
    ((110, 130, 150), 1), ((70, 92, 40), 1), ((90, 60, 110), 1),
)  # fmt: skip
_SHIRTS = (
    (225, 225, 225), (50, 50, 200), (190, 110, 50), (50, 180, 225), (60, 60, 60), (100, 160, 70), (170, 120, 190),
)  # fmt: skip
_PAINT_ODDS = np.array([odds for _, odds in _PAINTS]) / sum(odds for _, odds in _PAINTS)


def _vary(rng: np.random.Generator, colour: Colour, amount: float = 14) -> Colour:
    """Shift each channel by noise of standard deviation ``amount / 2``."""
    return tuple(min(max(c + shift, 6.0), 255.0) for c, shift in zip(colour, rng.normal(0, amount / 2, 3).tolist()))


def _pick(rng: np.random.Generator, colours: Sequence[Colour], amount: float) -> Colour:
    return _vary(rng, colours[int(rng.integers(len(colours)))], amount)


def car(rng: np.random.Generator) -> Built:
    """Low body, glass cabin behind the bonnet, roof in the body's colour."""
    length, half = rng.uniform(4.1, 4.9), rng.uniform(0.86, 0.95)
    paint, h = _vary(rng, _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_ODDS)][0]), length / 2
    estate = rng.random() < 0.35
    mesh = Mesh().box((-h + 0.1, h - 0.1), (-half, half), (0.0, 0.35), _RUBBER)
    mesh.box((-h, h), (-half, half), (0.35, 0.9), paint, taper=(0.12, 0.3, 0.08), level=1)
    rear = -h + (0.15 if estate else 0.75)
    mesh.box(
        (rear, h - 1.25), (-half + 0.1, half - 0.1), (0.9, rng.uniform(1.42, 1.6)), _GLASS,
        taper=(0.25 if estate else 0.5, 0.75, 0.17), roof=paint, level=2,
    )  # fmt: skip
    return mesh, length, 2 * half


def van(rng: np.random.Generator) -> Built:
    """Tall closed box, short sloping nose, mostly white or in a strong single colour, windscreen in front only."""
    length, half = rng.uniform(5.0, 6.0), rng.uniform(0.98, 1.08)
    paint, h = _pick(rng, ((238, 238, 238), (236, 232, 226), (226, 228, 232)), 14), length / 2  # delivery white
    height = rng.uniform(2.2, 2.6)
    mesh = Mesh().box((-h + 0.1, h - 0.1), (-half, half), (0.0, 0.4), _RUBBER)
    mesh.box((-h, h), (-half, half), (0.4, 1.15), paint, taper=(0.0, 0.25, 0.02), level=1)
    mesh.box((-h, h - 0.6), (-half, half), (1.15, height), paint, taper=(0.05, 0.75, 0.12), front=_GLASS, level=2)
    ribs = tuple(c * 0.8 for c in paint)
    for x in np.arange(-h + 0.7, h - 2.0, 1.1):
        mesh.box((x, x + 0.2), (-half + 0.2, half - 0.2), (height, height + 0.05), ribs, level=3)
    return mesh, length, 2 * half


def truck(rng: np.random.Generator) -> Built:
    """Cab, gap, and a load: a closed container or an open bed with something in it."""
    length, half = rng.uniform(7.5, 11.0), rng.uniform(1.2, 1.28)
    h, cab_length = length / 2, rng.uniform(1.9, 2.3)
    cab = _pick(rng, ((176, 92, 28), (70, 130, 60), (150, 110, 40)), 20)
    mesh = Mesh().box((-h + 0.1, h - 0.1), (-half + 0.1, half - 0.1), (0.0, 0.7), _RUBBER)
    mesh.box((h - cab_length, h), (-half, half), (0.5, 2.5), cab, taper=(0.1, 0.45, 0.1), front=_GLASS, level=1)
    end = h - cab_length - 0.45
    if rng.random() < 0.6:
        load = _pick(rng, ((170, 108, 50), (92, 140, 70), (140, 120, 40)), 24)
        mesh.box((-h, end), (-half, half), (0.7, rng.uniform(2.8, 3.5)), load, level=1)
    else:
        wall = _vary(rng, (90, 110, 130), 40)
        mesh.box((-h, end), (-half, half), (0.7, 1.7), wall, level=1)
        load = _pick(rng, ((70, 110, 150), (60, 64, 70), (84, 128, 150)), 30)
        top = rng.uniform(1.72, 2.3)
        mesh.box((-h + 0.2, end - 0.2), (-half + 0.2, half - 0.2), (1.7, top), load, taper=(0.3, 0.3, 0.25), level=2)
    return mesh, length, 2 * half


def bus(rng: np.random.Generator) -> Built:
    """Long and high, window band all round, pale roof with hatches and a coloured skirt."""
    length, half = rng.uniform(10.5, 12.5), rng.uniform(1.25, 1.32)
    h = length / 2
    paint = _pick(rng, ((40, 190, 235), (40, 170, 240), (30, 120, 235)), 20)
    roof = tuple(0.75 * c + 0.25 * 235 for c in paint)
    mesh = Mesh().box((-h, h), (-half, half), (0.0, 0.35), _RUBBER)
    mesh.box((-h, h), (-half, half), (0.35, 1.4), paint, level=1)
    mesh.box((-h + 0.02, h - 0.02), (-half, half), (1.4, 2.5), _GLASS, level=2)
    mesh.box((-h, h), (-half, half), (2.5, 3.1), paint, taper=(0.1, 0.1, 0.1), roof=roof, level=3)
    for x in (-0.32 * length, 0.22 * length):
        mesh.box((x, x + 1.8), (-0.7, 0.7), (3.1, 3.3), (176, 176, 172), taper=(0.1, 0.1, 0.1), level=4)
    return mesh, length, 2 * half


def motor(rng: np.random.Generator) -> Built:
    """Motorcycle, with a rider four times in five."""
    k = MOTOR_SCALE
    length, half = rng.uniform(1.95, 2.25) * k, 0.17 * k
    paint, h = _pick(rng, ((40, 40, 190), (40, 40, 44), (180, 90, 40), (200, 200, 204)), 20), length / 2
    mesh = Mesh().box((-h, -h + 0.62 * k), (-0.09 * k, 0.09 * k), (0.0, 0.62 * k), _RUBBER)
    mesh.box((h - 0.62 * k, h), (-0.09 * k, 0.09 * k), (0.0, 0.62 * k), _RUBBER)
    mesh.box((-0.7 * h, 0.55 * h), (-half, half), (0.35 * k, 0.8 * k), paint, level=1)
    mesh.box((0.5 * h, 0.6 * h), (-0.36 * k, 0.36 * k), (0.95 * k, 1.05 * k), _RUBBER, level=2)
    if rng.random() < 0.8:
        shirt = _pick(rng, ((60, 60, 60), (200, 196, 190), (60, 60, 180), (170, 100, 50), (60, 170, 200)), 40)
        trunk = (-0.3 * k, 0.2 * k), (-0.3 * k, 0.3 * k), (0.75 * k, 1.35 * k)
        mesh.box(*trunk, shirt, taper=(0.0, 0.15, 0.06), level=3)
        helmet = _pick(rng, ((40, 40, 40), (225, 225, 225), (40, 40, 200), (40, 190, 230)), 20)
        head = (-0.16 * k, 0.16 * k), (-0.15 * k, 0.15 * k), (1.35 * k, 1.68 * k)
        mesh.box(*head, helmet, taper=(0.07, 0.07, 0.07), level=4)
    return mesh, length, 0.75 * k


def pedestrian(rng: np.random.Generator) -> Built:
    """Legs in mid-stride, trunk with arms, head."""
    k = PEOPLE_SCALE * rng.uniform(0.88, 1.08)
    step = rng.uniform(0.0, 0.3) * k
    trousers = _pick(rng, ((50, 44, 40), (110, 74, 50), (90, 100, 110), (40, 40, 44)), 24)
    shirt = _pick(rng, _SHIRTS, 30)
    hair = _pick(rng, ((40, 44, 52), (60, 84, 110), (120, 160, 200)), 16)
    mesh = Mesh()
    legs = (step, (0.02 * k, 0.2 * k), (-step / 2, step, 0)), (-step, (-0.2 * k, -0.02 * k), (step, -step / 2, 0))
    for x, y, taper in legs:
        mesh.box((x - 0.12 * k, x + 0.1 * k), y, (0.0, 0.85 * k), trousers, taper=taper)
    mesh.box((-0.16 * k, 0.16 * k), (-0.3 * k, 0.3 * k), (0.8 * k, 1.48 * k), shirt, taper=(0.0, 0.0, 0.05), level=1)
    mesh.box((-0.13 * k, 0.13 * k), (-0.12 * k, 0.12 * k), (1.48 * k, 1.8 * k), hair, taper=(0.03, 0.03, 0.03), level=2)
    return mesh, 0.6 * k, 0.6 * k


def building(rng: np.random.Generator, length: float, width: float) -> Mesh:
    """Flat-roofed house with a parapet, window bands and, as distractors, vehicle-like machines on the roof."""
    tone = _pick(rng, ((150, 160, 170), (120, 140, 180), (190, 195, 200), (110, 115, 120)), 24)
    roof = _pick(rng, ((120, 122, 124), (96, 104, 150), (160, 164, 166)), 20)
    storeys = int(rng.integers(1, 4))
    h, w = length / 2, width / 2
    mesh = Mesh()
    for i in range(storeys):
        mesh.box((-h, h), (-w, w), (3.2 * i, 3.2 * i + 1.1), tone, level=2 * i)
        mesh.box((-h, h), (-w, w), (3.2 * i + 1.1, 3.2 * i + 2.4), tuple(c * 0.5 for c in tone), level=2 * i + 1)
    top = 3.2 * storeys
    mesh.box((-h, h), (-w, w), (top - 0.8, top), tone, roof=tuple(min(c * 1.12, 255) for c in tone), level=2 * storeys)
    mesh.box((-h + 0.5, h - 0.5), (-w + 0.5, w - 0.5), (top, top + 0.01), roof, level=2 * storeys + 1)
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(-h + 2, h - 3), rng.uniform(-w + 2, w - 3)
        a, b = rng.uniform(0.8, 2.2, 2)
        grey = _vary(rng, (176, 178, 178), 30)
        mesh.box((x, x + a), (y, y + b), (top, top + rng.uniform(0.5, 1.3)), grey, level=2 * storeys + 2)
    return mesh


# The classes of the dataset, in the order of VisDrone's category ids.
BUILDERS: dict[str, Callable[[np.random.Generator], Built]] = dict(
    pedestrian=pedestrian, car=car, van=van, truck=truck, bus=bus, motor=motor
)
