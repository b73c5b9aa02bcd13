"""From a picture of a digit, whatever the paper, pen and light, to an image as MNIST's were made.

The way of a picture: its ink (how much darker, lighter or differently coloured a pixel is than the paper around it),
without ruled lines; the marks that ink makes, and which of them are one digit; that digit with a pen as thick as
MNIST's, fitted into 20 x 20 and laid on 28 x 28.
"""

import contextlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from scipy import ndimage
from torch.nn.functional import interpolate

from src.learn.images import moments

BOX, SIDE = 20, 28  # pixels: MNIST's digits were fitted into 20 x 20 and laid on 28 x 28
MOST_PIXELS = 50_000_000  # of a picture that is decoded whole: about half a gigabyte
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation: the Image.Transpose that sets it upright
WORKING = 400  # pixels along the longer side: a larger picture is reduced, a smaller one enlarged
ROUGH = 10  # working pixels to one, where ink is told from paper
COARSE = 100  # the same where the paper is estimated
WIDEST = 25  # coarse pixels: no stroke is wider
DARKEST = 12.0  # of 255, added to the paper: the camera's own black
LEAST_NOISE = 0.015  # in units of density: what 8 bits and a printed pattern make
CLEAR = 6.0  # times the noise: what stands out less is grain
FEW = 150 / 76_800  # the part of a picture that even a small digit covers
HIGH, LOW = 0.5, 0.3  # of the ink's density: a mark has a pixel over the first, and ends at the second
FLOOR = 0.12  # of the ink's density: what is paler is not looked at
FULL = 1.2  # the middle of a stroke has so much more ink than it has on average
REACH = 10  # working pixels, over which the contrast of ink is compared
PALE = 0.6  # of the ink's density: lines on paper are paler
FAINT = 0.35  # of the densest mark: what is fainter is not ink
SPANS = 0.7  # of the picture's side: what runs straight over so much is a line on the paper
LEAST = 40  # working pixels of a mark: what is smaller is a speck
FAINTEST = 0.1  # of the ink: what is paler does not count for a mark's size
PEN = (1.7, 3.4)  # pixels of the box: thinner or thicker pens than these are brought here


class PictureError(ValueError):
    """Say in one sentence what is wrong with a picture and what to do."""


@dataclass
class Seen:
    """What was found in a picture, step by step, for figures: arrays of the working size, values from 0 to 1."""

    picture: np.ndarray
    ink: np.ndarray
    kept: np.ndarray
    image: torch.Tensor


def as_mnist(picture: str | Path | Image.Image) -> torch.Tensor:
    """Turn a picture, a path or a PIL image, into an image as MNIST's were made: uint8 (1, 1, 28, 28), white on black.

    Raises PictureError for what cannot be read, or shows no single digit.
    """
    return look(picture).image


def look(picture: str | Path | Image.Image) -> Seen:
    """Find the digit of a picture, and return what was Seen on the way. Raises PictureError."""
    colours = _colours(_opened(picture))
    raw = without_lines(density(colours))
    ink = local_contrast(raw)
    kept = single_mark(ink, raw)
    return Seen(colours / 255, ink.clip(0, 1), kept, fitted(ink, kept))


# ---------------------------------------------------------------- the picture


def _opened(picture):
    """Return a picture whole and upright, as RGBA, or as F where it has more than 8 bits."""
    loaded = isinstance(picture, Image.Image)
    if not loaded and not isinstance(picture, (str, Path)):
        raise PictureError(f"a picture is a file's path or a PIL image, not {type(picture).__name__}")
    name = "the picture" if loaded else str(picture)
    if not name.isprintable() or name != name.strip() or not name:
        name = repr(name)  # only in quotes is it seen
    if not loaded:
        try:
            open(picture, "rb").close()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", "no file can have such a name")
            raise PictureError(f"{name} cannot be read ({why}): correct the path or file") from None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of broken metadata, or of pixels, counted here
            with contextlib.nullcontext(picture) if loaded else Image.open(picture) as whole:
                if not loaded:
                    whole.draft("RGB", (4 * WORKING, 4 * WORKING))  # a JPEG is decoded no larger than needed
                if whole.width * whole.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                whole.load()
                with contextlib.suppress(Exception):  # it has no orientation, or its metadata is broken
                    whole = whole.transpose(TURNS[whole.getexif()[ExifTags.Base.Orientation]])
            if whole.mode in ("La", "LAB"):  # Pillow takes LAB's padding for opacity, and refuses La
                whole = whole.convert("LA" if whole.mode == "La" else "RGB")
            whole = whole.convert("F" if whole.mode.startswith(("I", "F")) else "RGBA")
    except (Image.DecompressionBombError, MemoryError):
        raise PictureError(f"{name} has too many pixels: make it smaller") from None
    except Exception:  # a decoder may fail in any way
        raise PictureError(f"{name} is no image that can be read: save it as PNG or JPEG") from None
    if 0 in whole.size:
        raise PictureError("the picture has no pixels: give one with a digit on it")
    return whole


def _colours(picture):
    """Return a picture, RGBA or F, as floats (height, width, 3) from 0 to 255 of the working size."""
    if picture.mode == "F":  # the brightest is white
        values = np.asarray(picture)
        if not np.isfinite(values).all():
            raise PictureError("the picture has pixels that are no numbers: save it as PNG or JPEG")
        low, high = min(float(values.min()), 0.0), float(values.max())
        scale = 255 / max(high - low, 1e-30)
        picture = Image.fromarray((scale * values - scale * low).round().astype(np.uint8)).convert("RGBA")
    largest = max(picture.size)
    if largest > 2 * WORKING:
        picture = picture.reduce(largest // WORKING)
    factor = WORKING / max(picture.size)
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    picture = picture.resize(size, Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.BOX)
    *colours, opaque = np.moveaxis(np.asarray(picture, dtype=np.float32), 2, 0)
    colours, opaque = np.stack(colours, 2), opaque[..., None] / 255
    if opaque.min() < 1:  # lay it on paper: of its own colour, or where that is ink, of the opposite one
        solid = colours[opaque[..., 0] > 0.5]
        plain = len(solid) and np.ptp(solid, axis=0).max() < 25
        mostly = np.median(solid, axis=0) if len(solid) else 255.0
        behind = mostly if opaque.mean() > 0.5 and not plain else (255.0 if np.mean(mostly) < 128 else 0.0)
        colours = opaque * colours + (1 - opaque) * behind
    return colours


# ---------------------------------------------------------------- ink


def density(colours: np.ndarray) -> np.ndarray:
    """Return how much ink lies on each pixel of (height, width, 3): about 1 on ink, about 0 on paper.

    Ink may be darker or lighter than paper. Either way the other may be seen in it: the white inside of a black 0 is a
    mark, too. The reading counts whose ink differs most from the colour that is around it at large. Raises
    PictureError where nothing stands out from the paper's grain.
    """
    logarithm = np.log(colours + DARKEST)
    small = logarithm[::ROUGH, ::ROUGH]
    around = ndimage.median_filter(small, (max(small.shape) // 2 | 1,) * 2 + (1,), mode="nearest")
    around = around.repeat(ROUGH, 0).repeat(ROUGH, 1)[: colours.shape[0], : colours.shape[1]]
    readings = []
    for sign in (1, -1):
        ink = _stands_out(colours, lighter=sign < 0)
        if ink is not None:
            differs = (sign * (around - logarithm)).clip(0).mean(2)
            readings.append((differs[ink > HIGH].sum(), sign, ink))
    if not readings:
        raise PictureError("nothing stands out from the paper's grain: draw one digit, or move closer")
    return max(readings, key=lambda reading: reading[:2])[2]


def _stands_out(colours, lighter):
    """Return how much ink there is on each pixel if it is darker, or lighter, than paper; None where none is clear.

    It is the share of the paper's light that a pixel lacks or adds, which does not depend on the light. Colours count
    in the direction in which the strongest pixels differ from paper, and as far as they exceed the noise.
    """
    paper = _paper(colours, lighter)
    difference = (colours - paper if lighter else paper - colours) / (paper + DARKEST)
    difference = ndimage.gaussian_filter(difference, (1, 1, 0))
    difference -= np.median(difference, axis=(0, 1))
    noise = np.maximum(1.4826 * np.median(abs(difference), axis=(0, 1)), LEAST_NOISE)
    clear = difference / noise
    strength = clear.mean(2)
    strongest = strength >= np.quantile(strength, 1 - FEW)
    if np.median(np.sqrt((clear[strongest] ** 2).mean(1))) < CLEAR:
        return None
    towards = np.median(clear[strongest], axis=0)  # the ink's colour, seen from the paper's
    return clear @ towards / np.median(clear[strongest] @ towards)


def _paper(colours, lighter):
    """Return the colour of the paper at each pixel of (height, width, 3): what is left where thin marks are filled.

    A closing fills what is dark and thinner than a pen's stroke may be, an opening what is light. Both leave the edge
    of a shadow where it is.
    """
    height, width, _ = colours.shape
    step = WORKING // COARSE
    coarse = ndimage.uniform_filter(colours, (step, step, 1))[::step, ::step]
    fill = ndimage.grey_opening if lighter else ndimage.grey_closing
    paper = ndimage.uniform_filter(fill(coarse, (WIDEST, WIDEST, 1), mode="nearest"), (3, 3, 1), mode="nearest")
    zoom = (height / paper.shape[0], width / paper.shape[1], 1)
    return ndimage.zoom(paper, zoom, order=1, mode="nearest", grid_mode=True)


def without_lines(ink: np.ndarray) -> np.ndarray:
    """Take away what is pale and runs straight across or down most of the picture: ruled and squared paper."""
    for axis in (0, 1):
        step = [1, 1]
        step[axis] = 4  # a line does not change along its way, so every fourth pixel of it will do
        along = ndimage.uniform_filter1d(ink, 4, axis)[:: step[0], :: step[1]]
        size = [1, 1]
        size[axis] = max(1, int(SPANS * along.shape[axis]))
        lines = ndimage.maximum_filter(ndimage.percentile_filter(along, 20, size, mode="nearest"), size)
        lines = lines.repeat(4, axis)[: ink.shape[0], : ink.shape[1]]
        dark = ndimage.maximum_filter1d(lines, 9, 1 - axis) >= PALE  # a pen's stroke, whose sides are paler
        ink = ink - np.where(dark, 0, lines.clip(0))
    return ink


def local_contrast(ink: np.ndarray) -> np.ndarray:
    """Divide ink by what it is around each pixel, where there is any: a blurred stroke is as dark as its crossings."""
    present = np.where(ink > FLOOR, ink, 0)
    around = ndimage.gaussian_filter(present**2, REACH) / ndimage.gaussian_filter(present, REACH).clip(1e-6)
    return np.where(ink > FLOOR, ink / (FULL * around).clip(FLOOR), 0)


# ---------------------------------------------------------------- marks


def single_mark(ink: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Return where the one digit is, as booleans (height, width). Raises PictureError where there is no digit, or more.

    `raw` is the ink before `local_contrast`, by which faint marks are recognised.
    """
    low = ink > LOW
    labels, count = ndimage.label(ndimage.binary_dilation(low, iterations=2), np.ones((3, 3)))
    labels = labels * low
    marks = []
    for number, box in enumerate(ndimage.find_objects(labels, count), 1):
        if box is None:
            continue
        inside = labels[box] == number
        if ink[box][inside].max() > HIGH:
            marks.append((number, box, inside))
    marks = [mark for mark in marks if not _is_line(mark, ink.shape)]
    dense = {number: np.quantile(raw[box][inside], 0.8) for number, box, inside in marks}
    densest = max((dense[number] for number, _, inside in marks if inside.sum() > LEAST), default=0)
    marks = [mark for mark in marks if dense[mark[0]] > FAINT * densest]
    if not marks:
        raise PictureError("there are only lines or faint specks: draw one digit, dark on light or light on dark")
    cut = {mark[0]: _is_cut(mark, ink.shape) for mark in marks}
    largest = max(marks, key=lambda mark: mark[2].sum() * (0.3 if cut[mark[0]] else 1))
    parts = [mark for mark in marks if mark[2].sum() > 0.02 * largest[2].sum()]
    kept, whole, before = {largest[0]}, largest[1], 0
    while len(kept) > before:  # a part may be near another part only; none that is cut belongs to a whole mark
        before = len(kept)
        for number, box, _ in parts:
            if number not in kept and _belongs(box, whole) and cut[number] <= cut[largest[0]]:
                kept.add(number)
                whole = tuple(
                    slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(whole, box, strict=True)
                )
    for number, _, inside in parts:
        if number not in kept and inside.sum() > 0.3 * largest[2].sum() and not cut[number]:
            raise PictureError("there are separate marks of similar size: give a picture of one digit")
    found = np.isin(labels, list(kept)) & low
    rows, columns = np.nonzero(found.any(1))[0], np.nonzero(found.any(0))[0]
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    if width > 1.9 * height:
        raise PictureError("the mark is much wider than a digit: give a picture of one digit")
    if found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.75 and height < 2.5 * width:
        raise PictureError("the mark is filled, not drawn with a pen: give a picture of one digit")
    return found


def _is_line(mark, shape):
    """Return whether a mark hugs the picture's border, as a frame does."""
    _, box, inside = mark
    margin = 0.06 * max(shape)
    rows, columns = np.nonzero(inside)
    rows, columns = rows + box[0].start, columns + box[1].start
    near = np.minimum.reduce([rows, columns, shape[0] - 1 - rows, shape[1] - 1 - columns]) < margin
    span = max(inside.shape[0] / shape[0], inside.shape[1] / shape[1])
    return near.mean() > 0.9 and span > (0.4 if _is_cut(mark, shape) else 0.8)


def _is_cut(mark, shape):
    """Return whether a mark goes on beyond the picture, as a neighbour's stroke or the corner of a shadow does."""
    _, box, _ = mark
    return any(side.start == 0 or side.stop == size for side, size in zip(box, shape, strict=True))


def _belongs(box, main):
    """Return whether a part is near the main mark, and over or under it or less than half as tall."""
    gaps, overlaps = [], []
    for part, whole in zip(box, main, strict=True):
        gaps.append(max(part.start - whole.stop, whole.start - part.stop, 0))
        overlaps.append((min(part.stop, whole.stop) - max(part.start, whole.start)) / (part.stop - part.start))
    size = max(side.stop - side.start for side in main)
    small = box[0].stop - box[0].start < 0.5 * size  # in height: another digit is as tall
    return max(gaps) < 0.3 * size and (overlaps[1] > 0.4 or small)


# ---------------------------------------------------------------- the image


def fitted(ink: np.ndarray, kept: np.ndarray) -> torch.Tensor:
    """Fit the mark into MNIST's box, its pen as thick as MNIST's: uint8 (1, 1, 28, 28), white on black."""
    rows, columns = np.nonzero(kept.any(1))[0], np.nonzero(kept.any(0))[0]
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    kept = np.pad(kept[box], 12)
    ink = np.pad(ink[box], 12) * ndimage.binary_dilation(kept, iterations=2)
    inside = ndimage.distance_transform_edt(ink > HIGH)
    unit = (max(kept.shape) - 24) / BOX  # working pixels to a pixel of the box
    pen = thickness(inside) / unit
    target = min(max(pen, PEN[0]), PEN[1])
    signed = inside - ndimage.distance_transform_edt(ink <= HIGH)
    return centred((signed / unit + (target - pen) / 2 + 0.5).clip(0, 1))


def centred(ink: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Fit ink (height, width) from 0 to 1 into the box, its centre of mass in the middle: uint8 (1, 1, 28, 28)."""
    ink = torch.as_tensor(ink, dtype=torch.float32)
    rows, columns = (torch.nonzero(ink.amax(axis) > FAINTEST).flatten() for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink = torch.where(ink > FAINTEST, ink, 0)
    height, width = (max(1, _rounded(BOX * side / max(ink.shape))) for side in ink.shape)
    small = interpolate(ink[None, None], (height, width), mode="area")
    across, down, *_ = moments(small)
    small = small[0, 0] / small.max()
    top, left = (_rounded(SIDE / 2 - (side - 1) / 2 - at.item()) for side, at in ((height, down), (width, across)))
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    canvas = torch.zeros(SIDE, SIDE)
    canvas[top : top + height, left : left + width] = small
    return (255 * canvas).round().to(torch.uint8)[None, None]


def thickness(inside: np.ndarray) -> float:
    """Return how thick a pen drew a mark, from each pixel's distance to the mark's edge."""
    ridge = (inside == ndimage.maximum_filter(inside, 3)) & (inside > 0)
    return 2 * np.median(inside[ridge]) - 1


def _rounded(value):
    """Round half up, as the page in a browser does."""
    return math.floor(value + 0.5)
