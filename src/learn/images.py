"""What is done to images between the files and the network: preprocessing, augmentation and scaling.

Images are tensors of shape (N, 1, H, W) with values from 0 to 255, white ink on black. "Across" is x, "down" is y.
"""

import functools
import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch.nn.functional import affine_grid, grid_sample, interpolate

from src.checked import Fraction, checked
from src.learn.recipe import Recipe

GRID = 4  # control points of the elastic distortion, along each axis
MAX_SHEAR = 1.0  # deslanting takes back at most 45 degrees
MIN_STEP, MAX_STEP = 0.7, 1.3  # size normalisation enlarges by at most 1 / 0.7 and shrinks by at most 1 / 1.3
BATCH = 1000  # images at a time, where nothing is trained


@checked
class Statistics:
    """What preprocessing and scaling need to know of a data set's training images.

    `mean` and `std` are of all pixels, from 0 to 1. `ink_x` and `ink_y` say how far an image's ink lies from its
    centre, across and down, once the image is deslanted: the mean over images of the standard deviation, in pixels.
    """

    mean: Fraction
    std: Annotated[float, Field(gt=0, le=1)]
    ink_x: Annotated[float, Field(gt=0)]
    ink_y: Annotated[float, Field(gt=0)]


class AffineMaps(NamedTuple):
    """An affine map for each image: an output pixel at p takes the value at `matrix` (N, 2, 2) p + `offset` (N, 2, 1).

    Places are in pixels from the middle of the image.
    """

    matrix: torch.Tensor
    offset: torch.Tensor


@dataclass(frozen=True)
class Preprocess:
    """What a recipe does to every image, to train with, to score, to predict and to show; called with images.

    Takes images (N, 1, 28, 28) of values from 0 to 255 and returns float32, or the images themselves where there is
    nothing to do.
    """

    recipe: Recipe
    statistics: Statistics

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if not self.recipe.preprocesses:
            return images
        return torch.cat([resample(batch, self._maps(batch)) for batch in images.split(BATCH)])

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Scale images so that the training images have mean 0 and standard deviation 1, as a network wants them."""
        return normalise(images, self.statistics)

    def _maps(self, images):
        return preprocessing_maps(images, self.statistics, self.recipe.deslant, self.recipe.size_normalisation)


def measure_statistics(images: torch.Tensor) -> Statistics:
    """Compute the Statistics of training images (N, 1, H, W)."""
    pixels = images.double() / 255
    _, _, xx, yy, xy = moments(images)
    deslanted = (xx - xy**2 / yy.clamp(min=1e-3)).clamp(min=0)
    found = pixels.mean(), pixels.std(), deslanted.sqrt().mean(), yy.sqrt().mean()
    return Statistics(*(value.item() for value in found))


def to_default_dtype(values: torch.Tensor) -> torch.Tensor:
    """Convert to the precision of all calculations, torch's default: float32, but for fingerprints."""
    return values.to(torch.get_default_dtype())


def normalise(images: torch.Tensor, statistics: Statistics) -> torch.Tensor:
    """Scale images so that the training images have mean 0 and standard deviation 1."""
    return (to_default_dtype(images) - 255 * statistics.mean) / (255 * statistics.std)


def moments(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the centre of each image's ink, and its second moments about that centre.

    Five tensors (N,): centre x and y, in pixels from the middle of the image; variance of x, variance of y and
    covariance, in square pixels. A blank image has zeros.
    """
    ink = to_default_dtype(images.squeeze(1))
    across, down = (torch.arange(size, device=ink.device) - (size - 1) / 2 for size in (ink.shape[2], ink.shape[1]))
    mass = ink.sum((1, 2)).clamp(min=1e-6)
    x, y = ink.sum(1) @ across / mass, ink.sum(2) @ down / mass
    xx, yy = ink.sum(1) @ across**2 / mass - x**2, ink.sum(2) @ down**2 / mass - y**2
    xy = (ink @ across) @ down / mass - x * y
    return x, y, xx.clamp(min=0), yy.clamp(min=0), xy


def preprocessing_maps(
    images: torch.Tensor, statistics: Statistics, deslant: bool, size_normalisation: float
) -> AffineMaps:
    """Return the AffineMaps that deslant images (N, 1, H, W) and bring their sizes nearer to the average.

    Deslanting, as in LeCun et al. 1998, is a shear about the ink's centre after which x and y of the ink have no
    covariance. Size normalisation brings the ink's standard deviation s, across and down, to
    s ** (1 - size_normalisation) * average ** size_normalisation: 0 leaves it, 1 makes it the average training
    image's, as far as MIN_STEP and MAX_STEP allow. The ink's centre stays where it is. No label is used, and no image
    depends on another.
    """
    x, y, xx, yy, xy = moments(images)
    shear = torch.zeros_like(xx)
    if deslant:  # a single row of ink has no slant
        shear = (xy / yy.clamp(min=1e-3)).clamp(-MAX_SHEAR, MAX_SHEAR)
    std_x, std_y = (xx - 2 * shear * xy + shear**2 * yy).clamp(min=0).sqrt(), yy.sqrt()
    step_x = ((std_x / statistics.ink_x) ** size_normalisation).clamp(MIN_STEP, MAX_STEP)
    step_y = ((std_y / statistics.ink_y) ** size_normalisation).clamp(MIN_STEP, MAX_STEP)
    matrix = torch.stack([step_x, shear * step_y, torch.zeros_like(shear), step_y], dim=1).view(-1, 2, 2)
    centre = torch.stack([x, y], dim=1).unsqueeze(2)
    return AffineMaps(matrix, centre - matrix @ centre)


def augment(
    images: torch.Tensor,
    generator: torch.Generator,
    *,
    rotation: float = 0.0,
    translation: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    elastic: float = 0.0,
) -> torch.Tensor:
    """Distort each image of a batch (N, 1, H, W) at random; what comes in from outside is black.

    Each strength is the largest amount, drawn uniformly in both directions and for each image by itself: `rotation` in
    degrees, `translation` in pixels along each axis, `scale` and `shear` as fractions (0.1: from 90 % to 110 %),
    `elastic` in pixels: how far each control point of a 4 x 4 grid is displaced along each axis, with bicubic curves
    between them (the idea of Simard, Steinkraus and Platt 2003). `generator` is one on the CPU, so that every device
    sees the same draws. Returns float32, or with no strength at all the images themselves, and draws nothing.
    """
    if not any((rotation, translation, scale, shear, elastic)):
        return images
    device, size = images.device, images.shape[-2:]
    draw = (2 * torch.rand(5, len(images), generator=generator) - 1).to(device, non_blocking=True)
    displacement = None
    if elastic:
        points = elastic * (2 * torch.rand(len(images), 2, GRID**2, generator=generator) - 1)
        points = points.to(device, non_blocking=True)
        displacement = (points @ _influence(*size, device, points.dtype)).view(-1, 2, *size)
    return affine(
        images,
        angle=draw[0] * rotation,
        right=draw[1] * translation,
        down=draw[2] * translation,
        scale=1 + draw[3] * scale,
        shear=draw[4] * shear,
        displacement=displacement,
    )


@functools.cache
def _influence(height, width, device, dtype):
    """Return how far each control point displaces each pixel: (GRID ** 2, height * width), bicubic."""
    one_each = torch.eye(GRID**2, dtype=dtype).view(-1, 1, GRID, GRID)
    return interpolate(one_each, (height, width), mode="bicubic", align_corners=True).flatten(1).to(device)


def affine(
    images: torch.Tensor,
    angle: torch.Tensor,
    right: torch.Tensor,
    down: torch.Tensor,
    scale: torch.Tensor,
    shear: torch.Tensor,
    displacement: torch.Tensor | None = None,
) -> torch.Tensor:
    """Shear, then rotate, enlarge and shift each image (N, 1, H, W) by its own amounts, all tensors (N,).

    `angle` is in degrees, counterclockwise; `right` and `down` in pixels; `scale` over 1 enlarges; `shear` moves a row
    sideways by that fraction of its distance from the centre. `displacement` (N, 2, H, W), in pixels across and down,
    is how much further each output pixel looks. Returns float32.
    """
    angle = angle * (math.pi / 180)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # The inverse of the map that the caller describes: where does an output pixel come from?
    inverse = torch.stack([cos - shear * sin, -sin - shear * cos, sin, cos], dim=1) / scale.unsqueeze(1)
    inverse = inverse.view(-1, 2, 2)
    shift = torch.stack([right, down], dim=1).unsqueeze(2)
    return resample(images, AffineMaps(inverse, -inverse @ shift), displacement)


def resample(images: torch.Tensor, maps: AffineMaps, displacement: torch.Tensor | None = None) -> torch.Tensor:
    """Take each output pixel from where `maps` and `displacement` (N, 2, H, W) say. Bilinear, square images only."""
    size = images.shape[-1]
    theta = torch.cat([maps.matrix, maps.offset * (2 / size)], dim=2)  # to torch the image spans -1 to 1
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    if displacement is not None:
        grid = grid + displacement.permute(0, 2, 3, 1) * (2 / size)
    return grid_sample(to_default_dtype(images), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
