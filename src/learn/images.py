"""What is done to images between the files and the network: preprocessing, augmentation and scaling.

Images are tensors of shape (N, 1, H, W) with values from 0 to 255, white ink on black. "Across" is x, "down" is y.
"""

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

GRID = 4  # control points of the elastic distortion, along each axis
MAX_SHEAR = 1.0  # deslanting takes back at most 45 degrees
MIN_STEP, MAX_STEP = 0.7, 1.3  # size normalisation enlarges by at most 1 / 0.7 and shrinks by at most 1 / 1.3


@dataclass(frozen=True)
class Statistics:
    """What preprocessing and scaling need to know of a data set's training images.

    `mean` and `std` are of all pixels, from 0 to 1. `ink_x` and `ink_y` say how far an image's ink lies from its
    centre, across and down, once the image is deslanted: the mean over images of the standard deviation, in pixels.
    """

    mean: float
    std: float
    ink_x: float
    ink_y: float


class Maps(NamedTuple):
    """An affine map for each image: an output pixel at p takes the value at `matrix` (N, 2, 2) p + `offset` (N, 2, 1).

    Places are in pixels from the middle of the image.
    """

    matrix: torch.Tensor
    offset: torch.Tensor

    def of(self, index):
        """Return the maps of the images that `index` (B,) picks."""
        return Maps(self.matrix[index], self.offset[index])


def measure(images):
    """Compute the Statistics of training images (N, 1, H, W)."""
    pixels = images.double() / 255
    _, _, xx, yy, xy = moments(images)
    deslanted = (xx - xy**2 / yy.clamp(min=1e-3)).clamp(min=0)
    found = pixels.mean(), pixels.std(), deslanted.sqrt().mean(), yy.sqrt().mean()
    return Statistics(*(value.item() for value in found))


def as_float(values):
    """Convert to the precision of all calculations, torch's default: float32, but for fingerprints."""
    return values.to(torch.get_default_dtype())


def normalise(images, statistics):
    """Scale images so that the training images have mean 0 and standard deviation 1."""
    return (as_float(images) - 255 * statistics.mean) / (255 * statistics.std)


def moments(images):
    """Return the centre of each image's ink, and its second moments about that centre.

    Five tensors (N,): centre x and y, in pixels from the middle of the image; variance of x, variance of y and
    covariance, in square pixels. A blank image has zeros.
    """
    ink = as_float(images.squeeze(1))
    across, down = (torch.arange(size, device=ink.device) - (size - 1) / 2 for size in (ink.shape[2], ink.shape[1]))
    mass = ink.sum((1, 2)).clamp(min=1e-6)
    x, y = ink.sum(1) @ across / mass, ink.sum(2) @ down / mass
    xx, yy = ink.sum(1) @ across**2 / mass - x**2, ink.sum(2) @ down**2 / mass - y**2
    xy = (ink @ across) @ down / mass - x * y
    return x, y, xx.clamp(min=0), yy.clamp(min=0), xy


def preprocessing_maps(images, statistics, deslant, size_normalisation, zoom_x=1.0, zoom_y=1.0):
    """Return the Maps that deslant images (N, 1, H, W) and bring their sizes nearer to the average.

    Deslanting, as in LeCun et al. 1998, is a shear about the ink's centre after which x and y of the ink have no
    covariance. Size normalisation brings the ink's standard deviation s, across and down, to
    s ** (1 - size_normalisation) * average ** size_normalisation: 0 leaves it, 1 makes it the average training
    image's, as far as MIN_STEP and MAX_STEP allow. Then all are enlarged by the zoom. The ink's centre stays where it
    is. No label is used, and no image depends on another.
    """
    x, y, xx, yy, xy = moments(images)
    shear = torch.zeros_like(xx)
    if deslant:  # a single row of ink has no slant
        shear = (xy / yy.clamp(min=1e-3)).clamp(-MAX_SHEAR, MAX_SHEAR)
    std_x, std_y = (xx - 2 * shear * xy + shear**2 * yy).clamp(min=0).sqrt(), yy.sqrt()
    step_x = ((std_x / statistics.ink_x) ** size_normalisation).clamp(MIN_STEP, MAX_STEP) / zoom_x
    step_y = ((std_y / statistics.ink_y) ** size_normalisation).clamp(MIN_STEP, MAX_STEP) / zoom_y
    matrix = torch.stack([step_x, shear * step_y, torch.zeros_like(shear), step_y], dim=1).view(-1, 2, 2)
    centre = torch.stack([x, y], dim=1).unsqueeze(2)
    return Maps(matrix, centre - matrix @ centre)


def augment(images, generator, *, rotation=0.0, translation=0.0, scale=0.0, shear=0.0, elastic=0.0, maps=None):
    """Distort each image of a batch (N, 1, H, W) at random; what comes in from outside is black.

    Each strength is the largest amount, drawn uniformly in both directions and for each image by itself: `rotation` in
    degrees, `translation` in pixels along each axis, `scale` and `shear` as fractions (0.1: from 90 % to 110 %),
    `elastic` in pixels: how far each control point of a 4 x 4 grid is displaced along each axis, with bicubic curves
    between them (the idea of Simard, Steinkraus and Platt 2003). `maps`, if given, are applied first, in the same
    resampling. `generator` is one on the CPU, so that every device sees the same draws. Returns float32.
    """
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
        maps=maps,
    )


@functools.cache
def _influence(height, width, device, dtype):
    """Return how far each control point displaces each pixel: (GRID ** 2, height * width), bicubic."""
    one_each = torch.eye(GRID**2, dtype=dtype).view(-1, 1, GRID, GRID)
    return interpolate(one_each, (height, width), mode="bicubic", align_corners=True).flatten(1).to(device)


def affine(images, angle, right, down, scale, shear, displacement=None, maps=None):
    """Shear, then rotate, enlarge and shift each image (N, 1, H, W) by its own amounts, all tensors (N,).

    `angle` is in degrees, counterclockwise; `right` and `down` in pixels; `scale` over 1 enlarges; `shear` moves a row
    sideways by that fraction of its distance from the centre. `displacement` (N, 2, H, W), in pixels across and down,
    is how much further each output pixel looks. `maps` are Maps to be applied before all that. Returns float32.
    """
    angle = angle * (math.pi / 180)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # The inverse of the map that the caller describes: where does an output pixel come from?
    inverse = torch.stack([cos - shear * sin, -sin - shear * cos, sin, cos], dim=1) / scale.unsqueeze(1)
    inverse = inverse.view(-1, 2, 2)
    shift = torch.stack([right, down], dim=1).unsqueeze(2)
    found = Maps(inverse, -inverse @ shift)
    if maps is not None:  # from the output back to the preprocessed image, and from there to the one in the file
        found = Maps(maps.matrix @ found.matrix, maps.matrix @ found.offset + maps.offset)
        if displacement is not None:
            displacement = (maps.matrix @ displacement.flatten(2)).view_as(displacement)
    return resample(images, found, displacement)


def resample(images, maps, displacement=None):
    """Take each output pixel from where `maps` and `displacement` (N, 2, H, W) say. Bilinear, square images only."""
    size = images.shape[-1]
    theta = torch.cat([maps.matrix, maps.offset * (2 / size)], dim=2)  # to torch the image spans -1 to 1
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    if displacement is not None:
        grid = grid + displacement.permute(0, 2, 3, 1) * (2 / size)
    return grid_sample(as_float(images), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
