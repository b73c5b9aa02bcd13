"""From a picture of a digit to an image as MNIST's were made."""

import contextlib
import math
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn.functional import interpolate
from torchvision.transforms.functional import pil_to_tensor

from src.learn.images import moments

BOX, SIDE = 20, 28  # pixels: MNIST's digits were fitted into 20 x 20 and laid on 28 x 28
FAINTEST = 0.1  # of the contrast between ink and background: what is paler is background, the grain of a photograph
LEAST_CONTRAST = 25  # of 255
MOST_PIXELS = 2000  # along a side: a larger picture is reduced first, or it would take gigabytes
LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue are to the eye


class PictureError(ValueError):
    """Say in one sentence what is wrong with a picture and what to do."""


def as_mnist(picture):
    """Turn a picture into an image as MNIST's were made: uint8 (1, 1, 28, 28), light ink on black.

    The ink is fitted into a box of 20 x 20 pixels without distortion, and laid so that its centre of mass is in the
    middle of 28 x 28.
    """
    ink = _ink(_grey(picture))
    rows, columns = (torch.nonzero(ink.amax(axis) > 0).flatten() for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, _rounded(BOX * size / max(ink.shape))) for size in ink.shape)
    small = interpolate(ink[None, None], (height, width), mode="area")[0, 0]
    small = small / small.max()
    canvas = torch.zeros(SIDE, SIDE)
    across, down, *_ = moments(small[None, None])
    top = _rounded(SIDE / 2 - (height - 1) / 2 - down.item())
    left = _rounded(SIDE / 2 - (width - 1) / 2 - across.item())
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    canvas[top : top + height, left : left + width] = small
    return (255 * canvas).round().to(torch.uint8)[None, None]


def _rounded(value):
    """Round half up, as the page in a browser does."""
    return math.floor(value + 0.5)


def _opened(picture):
    """Return a picture, a path or a PIL image, whole and upright."""
    loaded = isinstance(picture, Image.Image)
    if not loaded and not isinstance(picture, (str, Path)):
        raise PictureError(f"a picture is a file's path or a PIL image, not {type(picture).__name__}")
    name = "the picture" if loaded else picture
    try:
        with contextlib.nullcontext(picture) if loaded else Image.open(picture) as opened:
            upright = ImageOps.exif_transpose(opened)
    except Image.DecompressionBombError:
        raise PictureError(f"{name} has too many pixels: make it smaller") from None
    except (UnidentifiedImageError, ValueError, SyntaxError, RuntimeError):
        raise PictureError(f"{name} is no image that can be read: save it as PNG or JPEG") from None
    except OSError as error:
        raise PictureError(f"{name} cannot be read ({error.strerror or error}): correct the path or file") from None
    if 0 in upright.size:
        raise PictureError("the picture has no pixels: give one with a digit on it")
    return upright


def _grey(picture):
    """Return a picture as a float tensor (height, width) from 0 to 255, what is transparent laid on its background."""
    picture = _opened(picture)
    factor = math.ceil(max(picture.size) / MOST_PIXELS)
    if picture.mode.startswith(("I", "F")):  # more than 8 bits: the brightest is white
        (values,) = pil_to_tensor(picture.convert("F").reduce(factor))
        if not values.isfinite().all():
            raise PictureError("the picture has pixels that are no numbers: save it as PNG or JPEG")
        values = values - values.min().clamp(max=0)
        return 255 * values / values.max().clamp(min=1e-9)
    *colours, opaque = pil_to_tensor(picture.convert("RGBA").reduce(factor)).float()
    grey, opaque = sum(map(torch.mul, colours, LUMA)), opaque / 255
    solid = grey[opaque > 0.5]
    if opaque.mean() > 0.5 and solid.max() - solid.min() >= LEAST_CONTRAST:
        behind = solid.median()  # a sheet with see-through edges
    else:  # ink on nothing: the opposite of the ink
        behind = 255.0 if (grey * opaque).sum() < 127.5 * opaque.sum() else 0.0
    return opaque * grey + (1 - opaque) * behind


def _ink(grey):
    """Return how much ink is where, from 0 to 1: how far a pixel is from the background.

    The background is the plane that comes nearest to the border's pixels, so light may fall off to one side.
    """
    height, width = grey.shape
    down, across = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    places = torch.stack([torch.ones_like(grey), across, down], dim=2)
    edge = torch.ones_like(grey, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    plane = torch.linalg.lstsq(places[edge], grey[edge].unsqueeze(1), driver="gelsd").solution
    background = (places @ plane).squeeze(2)
    ink = grey - background
    if -ink.min() > ink.max():  # dark ink on light paper, which takes a part of the light that falls there
        ink = -ink * (255 / background.clamp(min=1))
    if ink.max() < LEAST_CONTRAST:
        raise PictureError("the picture is blank: draw one digit, dark on light or light on dark")
    ink = ink.clamp(min=0) / ink.max()
    return torch.where(ink < FAINTEST, 0.0, ink)
