"""Draw the pictures of the built-in data set.

Each image shows one to three objects of one class on a cluttered background. A class is a shape
with a material (``dotted cross``). Every shape comes in three materials and every material in two
shapes, so neither alone tells the class; nor does colour. The material covers the whole object, so
that the evidence for a class lies over its full extent. The background is textured and cluttered,
with edges as strong as the object's, so that where an image has gradients does not tell where its
object is. Objects are so small that the box of the whole image is hardly ever right. A few images
are grey (mode L) or CMYK, as in ILSVRC.

The pixels are the same on every machine: all drawing is integer arithmetic (lengths in quarter
pixels, sines and cosines as multiples of 1/4096), and all random numbers are raw output of PCG64,
seeded for each image by (seed, split, index), so that no image depends on another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cam_repro.data.image_set import SPLITS
from cam_repro.types import Box

# --- the classes ---------------------------------------------------------------------------------

ONE = 4096
"""Fixed-point 1 of sines, cosines and object coordinates."""
QUARTER = 4
"""Units of length in a pixel. Each pixel has 2 x 2 samples, at 1/4 and 3/4 of its sides."""

Mask = np.ndarray


def _triangle(u: np.ndarray, v: np.ndarray) -> Mask:
    return (v <= ONE) & (2 * abs(u) <= v + ONE)


def _cross(u: np.ndarray, v: np.ndarray) -> Mask:
    u, v = abs(u), abs(v)
    return (np.minimum(u, v) <= ARM) & (np.maximum(u, v) <= ONE)


ARM = ONE // 3
"""Half the width of an arm of the cross."""

# A shape tells which points (u, v) of the square |u|, |v| <= ONE are inside; v points down.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], Mask]] = {
    "disc": lambda u, v: u * u + v * v <= ONE * ONE,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= ONE,
    "triangle": _triangle,
    "cross": _cross,
}

# A material tells which points (p, q) get the light one of its two tones; p, q and the period t
# are lengths.
MATERIALS: dict[str, Callable[[np.ndarray, np.ndarray, int], Mask]] = {
    "striped": lambda p, q, t: 2 * (p % t) < t,
    "checked": lambda p, q, t: (2 * p // t + 2 * q // t) % 2 == 0,
    "dotted": lambda p, q, t: 9 * ((p % t - t // 2) ** 2 + (q % t - t // 2) ** 2) < t * t,
    "zigzag": lambda p, q, t: 2 * ((p + abs(q % (2 * t) - t)) % t) < t,
    "netted": lambda p, q, t: np.minimum(p % t, q % t) * 4 < t,
    "bricked": lambda p, q, t: np.minimum((p + q // t % 2 * t) % (2 * t), q % t) * 4 > t,
}
# Materials of no class, for background and clutter.
NEUTRAL: dict[str, Callable[[np.ndarray, np.ndarray, int], Mask]] = {
    "plain": lambda p, q, t: np.ones_like(p, bool),
    "speckled": lambda p, q, t: ((3 * p // t * 7919) ^ (3 * q // t * 10007)) % 7 < 3,
    "flecked": lambda p, q, t: ((2 * p // t * 7919) ^ (5 * q // t * 10007)) % 5 < 2,
}


@dataclass(frozen=True)
class DemoClass:
    """Hold a class.

    wnid: an id in WordNet's form that no noun has: the offsets of nouns are below 16 million.
    """

    wnid: str
    name: str
    shape: str
    material: str


def _classes() -> tuple[DemoClass, ...]:
    # Any two shapes share exactly one material.
    shapes_of = {
        "striped": ("disc", "triangle"),
        "checked": ("square", "cross"),
        "dotted": ("triangle", "cross"),
        "zigzag": ("disc", "cross"),
        "netted": ("square", "triangle"),
        "bricked": ("disc", "square"),
    }
    pairs = [(s, m) for s in SHAPES for m in MATERIALS if s in shapes_of[m]]
    return tuple(
        DemoClass(f"n{90000010 + k}", f"{material} {shape}", shape, material)
        for k, (shape, material) in enumerate(pairs)
    )


CLASSES = _classes()
"""The twelve classes, in the order of their labels."""

# --- random numbers ------------------------------------------------------------------------------


class _Dice:
    """Give the random integers of one image.

    They come from the raw output of PCG64, which NumPy promises never to change; the methods of
    Generator may change.
    """

    def __init__(self, seed: int, split: str, index: int) -> None:
        entropy = np.random.SeedSequence([seed, SPLITS.index(split), index])
        self._source = np.random.PCG64(entropy)

    def roll(self, low: int, high: int) -> int:
        """Give one integer of low..high, both included."""
        assert low <= high
        return low + int(self._source.random_raw()) % (high - low + 1)

    def bytes(self, *shape: int) -> np.ndarray:
        """Give an int32 array of integers 0..255."""
        count = math.prod(shape)
        words = self._source.random_raw(-(-count // 8)).astype("<u8")
        return words.view(np.uint8)[:count].reshape(shape).astype(np.int32)


# --- drawing -------------------------------------------------------------------------------------

TURN = 72
"""Steps of a full turn: angles are multiples of 5 degrees."""
# Rounded to 6 digits first, because mathematical libraries differ in the last ones.
COS = [round(round(math.cos(2 * math.pi * k / TURN), 6) * ONE) for k in range(TURN)]
SIN = [round(round(math.sin(2 * math.pi * k / TURN), 6) * ONE) for k in range(TURN)]


@dataclass(frozen=True)
class _Piece:
    """Hold an object or a piece of clutter to paint.

    centre, radii, period: in quarter pixels. angle, grain_angle: of shape and material, in steps
    of ``TURN``. light, dark: the material's tones, RGB (3, 1, 1). rim: paint the edge of the shape
    dark. shade: change of brightness along u and v, in 1/256 at the shape's end.
    """

    shape: str
    material: str
    centre: tuple[int, int]
    radii: tuple[int, int]
    angle: int
    grain_angle: int
    period: int
    light: np.ndarray
    dark: np.ndarray
    rim: bool = False
    shade: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Drawing:
    """Hold one image before encoding.

    pixels: uint8, (H, W) for mode L, (H, W, 3) for RGB, (H, W, 4) for CMYK (0 = no ink).
    label: index into ``CLASSES``.
    masks: one for each object, bool (H, W), true where it covers at least half of a pixel.
    boxes: the tight box of each mask. truncated: whether each object reaches beyond the image.
    """

    pixels: np.ndarray
    mode: str
    label: int
    masks: list[Mask]
    boxes: list[Box]
    truncated: list[bool]


def _colour(dice: _Dice, low: int, high: int, strongest: int = 120) -> np.ndarray:
    """Give a colour of any hue with a luminance of low..high, int32 (3, 1, 1).

    So hues tell nothing, but light and dark tones differ by enough to be seen.
    """
    hue, strength, luma = dice.roll(0, 1535), dice.roll(0, strongest), dice.roll(low, high)
    wheel = [abs(hue - 768) - 256, 512 - abs(hue - 512), 512 - abs(hue - 1024)]
    pure = np.clip(np.array(wheel, np.int32), 0, 255)[:, None, None]
    return np.clip(luma + (pure - _luma(pure)) * strength // 160, 0, 255)


def _luma(rgb_3HW: np.ndarray) -> np.ndarray:
    return (299 * rgb_3HW[0] + 587 * rgb_3HW[1] + 114 * rgb_3HW[2] + 500) // 1000


def _rotate(x: np.ndarray, y: np.ndarray, angle: int) -> tuple[np.ndarray, np.ndarray]:
    """Give coordinates in axes turned by ``angle``, in a unit that is 1/4096 of the former."""
    return x * COS[angle] + y * SIN[angle], y * COS[angle] - x * SIN[angle]


def _reach(shape: str, radii: tuple[int, int], angle: int) -> tuple[int, int]:
    """Give half the width and height of the box, around the centre, that holds the turned shape."""
    corners = {
        "square": [(ONE, ONE), (ONE, -ONE)],
        "triangle": [(0, -ONE), (ONE, ONE), (-ONE, ONE)],
        "cross": [(ARM, ONE), (ARM, -ONE), (ONE, ARM), (ONE, -ARM)],
    }
    if shape == "disc":
        x = math.isqrt((radii[0] * COS[angle]) ** 2 + (radii[1] * SIN[angle]) ** 2)
        y = math.isqrt((radii[0] * SIN[angle]) ** 2 + (radii[1] * COS[angle]) ** 2)
        return x // ONE + 1, y // ONE + 1
    points = [(radii[0] * u, radii[1] * v) for u, v in corners[shape]]
    x = max(abs(a * COS[angle] - b * SIN[angle]) for a, b in points)
    y = max(abs(a * SIN[angle] + b * COS[angle]) for a, b in points)
    return x // ONE**2 + 1, y // ONE**2 + 1


def _count(samples: Mask) -> np.ndarray:
    """Count the samples, of 2 x 2, that are set in each pixel."""
    n = samples.view(np.uint8)
    n = n[0::2, 0::2] + n[0::2, 1::2] + n[1::2, 0::2] + n[1::2, 1::2]
    return n.astype(np.int32)


def _paint(canvas_3HW: np.ndarray, piece: _Piece) -> Mask:
    """Paint on the int32 canvas in place; return where the piece is, bool (H, W)."""
    height, width = canvas_3HW.shape[1:]
    mask = np.zeros((height, width), bool)
    reach = _reach(piece.shape, piece.radii, piece.angle)
    x0, y0 = (max(0, (c - r) // QUARTER) for c, r in zip(piece.centre, reach, strict=True))
    x1 = min(width, (piece.centre[0] + reach[0]) // QUARTER + 1)
    y1 = min(height, (piece.centre[1] + reach[1]) // QUARTER + 1)
    if x0 >= x1 or y0 >= y1:
        return mask

    # Samples of the window, relative to the centre. All values below fit into 32 bits.
    x = (2 * np.arange(2 * x0, 2 * x1, dtype=np.int32) + 1 - piece.centre[0])[None, :]
    y = (2 * np.arange(2 * y0, 2 * y1, dtype=np.int32) + 1 - piece.centre[1])[:, None]
    u, v = _rotate(x, y, piece.angle)
    u, v = u // piece.radii[0], v // piece.radii[1]
    inside = SHAPES[piece.shape](u, v)
    p, q = _rotate(x, y, piece.grain_angle)
    # Materials square p and q, and squares of 1/4096 units would not fit: they get 1/64 units.
    light = inside & (MATERIALS | NEUTRAL)[piece.material](p // 64, q // 64, piece.period * 64)
    if piece.rim:
        light &= SHAPES[piece.shape](u * 8 // 7, v * 8 // 7)

    n_inside, n_light = _count(inside), _count(light)
    paint_3HW = n_light * piece.light + (n_inside - n_light) * piece.dark
    # Lit from one side: at the end of each axis brighter or darker by up to ``shade`` / 256.
    shade = 256 + (u[::2, ::2] * piece.shade[0] + v[::2, ::2] * piece.shade[1]) // ONE
    window_3HW = canvas_3HW[:, y0:y1, x0:x1]
    window_3HW *= 4 - n_inside
    window_3HW += paint_3HW * shade // 256
    window_3HW //= 4
    mask[y0:y1, x0:x1] = n_inside >= 2
    return mask


def _clouds(dice: _Dice, height: int, width: int, cells: int) -> np.ndarray:
    """Make smooth noise, 0..255, by interpolating a random lattice to (height, width)."""
    lattice = dice.bytes(cells + 1, cells + 1)
    y, x = (np.arange(n, dtype=np.int32) * cells * 256 // n for n in (height, width))
    row, down = y // 256, (y % 256)[:, None]
    rows = lattice[row] * (256 - down) + lattice[row + 1] * down
    column, right = x // 256, x % 256
    return (rows[:, column] * (256 - right) + rows[:, column + 1] * right) // 65536


def _background(dice: _Dice, height: int, width: int, material: str) -> np.ndarray:
    """Paint textured ground and, on it, clutter of all sizes; none of it tells the class.

    Ground and clutter have edges as strong as the object's. Some clutter is of a class's material,
    but never of ``material``, this image's own: such a piece would be an object without a box.
    """
    short = min(height, width)

    def piece(kind: str, radii: tuple[int, int], tones: tuple[int, int, int, int]) -> _Piece:
        """Make a piece at random.

        radii: the smallest and the largest, in hundredths of the short side of the image.
        tones: lowest and highest luminance of the light tone, and of the dark one.
        """
        across, down = (max(6, dice.roll(*radii) * short * QUARTER // 100) for _ in "xy")
        return _Piece(
            shape=list(SHAPES)[dice.roll(0, len(SHAPES) - 1)],
            material=kind,
            centre=(dice.roll(0, width * QUARTER), dice.roll(0, height * QUARTER)),
            radii=(across, down),
            angle=dice.roll(0, TURN - 1),
            grain_angle=dice.roll(0, TURN - 1),
            period=short * QUARTER * dice.roll(9, 13) // 100,
            light=_colour(dice, *tones[:2], 80),
            dark=_colour(dice, *tones[2:], 80),
        )

    mix = (2 * _clouds(dice, height, width, 3) + _clouds(dice, height, width, 9)) // 3
    a, b = _colour(dice, 70, 190, 60), _colour(dice, 70, 190, 60)
    canvas_3HW = (a * (255 - mix) + b * mix) // 255
    for _ in range(dice.roll(2, 4)):
        kind = ("speckled", "flecked")[dice.roll(0, 1)]
        _paint(canvas_3HW, piece(kind, (35, 90), (130, 200, 60, 120)))
    for _ in range(dice.roll(1, 3)):
        _paint(canvas_3HW, piece("plain", (10, 40), (70, 190, 30, 90)))
    for _ in range(dice.roll(3, 7)):
        kind = list(NEUTRAL)[dice.roll(0, len(NEUTRAL) - 1)]
        _paint(canvas_3HW, piece(kind, (4, 14), (140, 230, 30, 90)))
    others = [name for name in MATERIALS if name != material]
    for _ in range(dice.roll(0, 2)):
        kind = others[dice.roll(0, len(others) - 1)]
        _paint(canvas_3HW, piece(kind, (7, 13), (170, 230, 30, 90)))
    return canvas_3HW


def _place(dice: _Dice, height: int, width: int, kind: DemoClass) -> list[_Piece]:
    """Place one object (77 % of images, as in ILSVRC), two (17 %) or three.

    Their boxes do not overlap.
    """
    short = min(height, width) * QUARTER
    chance = dice.roll(1, 100)
    count = 1 if chance <= 77 else 2 if chance <= 94 else 3
    smallest, largest = {1: (50, 84), 2: (40, 54), 3: (36, 46)}[count]
    leaves = dice.roll(1, 8) == 1
    placed: list[_Piece] = []
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(count):
        # The sides of the box, in hundredths of the short side of the image.
        side = dice.roll(smallest, largest) * short // 100
        radii = (1000 * dice.roll(85, 115) // 100, 1000)
        angle = dice.roll(-4, 4) % TURN
        reach = _reach(kind.shape, radii, angle)
        radii = (radii[0] * side // (2 * max(reach)), radii[1] * side // (2 * max(reach)))
        reach = _reach(kind.shape, radii, angle)
        light, dark = _colour(dice, 175, 235), _colour(dice, 25, 80)
        shade = (dice.roll(-50, 50), dice.roll(-50, 50))
        period, grain_angle = short * dice.roll(10, 14) // 100, dice.roll(0, TURN - 1)
        # How far the box may reach beyond the image; usually it stays a pixel away from the edge.
        slack = side // 6 if leaves else -QUARTER
        for _ in range(40):
            x = dice.roll(reach[0] - slack, width * QUARTER - reach[0] + slack)
            y = dice.roll(reach[1] - slack, height * QUARTER - reach[1] + slack)
            box = (x - reach[0], y - reach[1], x + reach[0], y + reach[1])
            if all(box[0] > b[2] or b[0] > box[2] or box[1] > b[3] or b[1] > box[3] for b in taken):
                break
        else:
            continue  # no room left: one object fewer
        taken.append(box)
        placed.append(
            _Piece(
                shape=kind.shape,
                material=kind.material,
                centre=(x, y),
                radii=radii,
                angle=angle,
                grain_angle=grain_angle,
                period=period,
                light=light,
                dark=dark,
                rim=True,
                shade=shade,
            )
        )
    return placed


def _tight_box(mask: Mask) -> Box:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(xs[0]), int(ys[0]), int(xs[-1]), int(ys[-1])


def _cmyk(rgb_3HW: np.ndarray) -> np.ndarray:
    """Give the inks, 0..255, that print ``rgb_3HW``.

    Half of the grey is printed in black, so that all four planes hold something.
    """
    black = (255 - rgb_3HW.max(0, keepdims=True)) // 2
    return np.concatenate([255 - rgb_3HW * 255 // (255 - black), black])


def _encodable(rgb_3HW: np.ndarray, mode: str) -> np.ndarray:
    if mode == "L":
        return _luma(rgb_3HW).astype(np.uint8)
    planes = _cmyk(rgb_3HW) if mode == "CMYK" else rgb_3HW
    return np.ascontiguousarray(planes.transpose(1, 2, 0), np.uint8)


def draw(split: str, index: int, seed: int = 0) -> Drawing:
    """Draw image ``index`` (0-based) of ``split`` (train, val or test).

    Sides are 64 to 160 pixels. About 3 % of images are mode L and 2 % CMYK.
    """
    dice = _Dice(seed, split, index)
    label = index % len(CLASSES)
    kind = CLASSES[label]
    chance = dice.roll(1, 100)
    mode = "L" if chance <= 3 else "CMYK" if chance <= 5 else "RGB"
    long = dice.roll(96, 160)
    short = max(64, long * (100, 100, 80, 75, 67)[dice.roll(0, 4)] // 100)
    height, width = (long, short) if dice.roll(0, 1) else (short, long)

    canvas_3HW = _background(dice, height, width, kind.material)
    pieces = _place(dice, height, width, kind)
    masks = [_paint(canvas_3HW, piece) for piece in pieces]
    canvas_3HW += (dice.bytes(3, height, width) + dice.bytes(3, height, width)) // 24 - 10
    rgb_3HW = np.clip(canvas_3HW, 0, 255)

    reaches = [_reach(piece.shape, piece.radii, piece.angle) for piece in pieces]
    return Drawing(
        pixels=_encodable(rgb_3HW, mode),
        mode=mode,
        label=label,
        masks=masks,
        boxes=[_tight_box(mask) for mask in masks],
        truncated=[
            x < rx or y < ry or x + rx > width * QUARTER or y + ry > height * QUARTER
            for (x, y), (rx, ry) in zip((p.centre for p in pieces), reaches, strict=True)
        ],
    )
