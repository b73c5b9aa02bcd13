"""What is done to images between the files and the network: preparation, augmentation and scaling."""

import functools
import math
from typing import NamedTuple

import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

KNOTS = 4  # of the net that bends an image, along each axis
MEAN, STD = 0.1307, 0.3081  # of the 60,000 training images, pixels from 0 to 1
# How far their ink lies from its centre once they are straightened, across and down: means of the standard deviations.
SPREAD = (3.41, 5.47)  # pixels
STEEPEST = 1.0  # a steeper slant than 45 degrees is taken back by 45 degrees only
SMALLEST_STEP, LARGEST_STEP = 0.7, 1.3  # from pixel to pixel of the result, in pixels of the image


def normalise(images):
    """Scale values from 0 to 255 to float32 so that MNIST's training images have mean 0 and standard deviation 1."""
    return (images.float() - 255 * MEAN) / (255 * STD)


class Maps(NamedTuple):
    """Where each image's output pixels come from: `matrix` (N, 2, 2) times their place plus `offset` (N, 2, 1)."""

    matrix: torch.Tensor
    offset: torch.Tensor

    def of(self, index):
        """Return the maps of the images that `index` picks."""
        return Maps(self.matrix[index], self.offset[index])


def prepare(images, straighten=False, spread=0.0, zoom=(1.0, 1.0)):
    """Take out of each image (N, 1, 28, 28) its slant, if asked to, and part of what it differs from others in size.

    Straightening is the deslant as in LeCun et al. 1998: a shear about the ink's centre, which stays where it is, after
    which the ink's second moments have no covariance. `spread` from 0 to 1 says how far the standard deviation of the
    ink, across and down, is brought to that of the average training image, SPREAD: 0 leaves it, 1 brings it there, as
    far as the limits allow. Then all are enlarged by `zoom`, across and down. Nothing is learned and no image looks at
    another; all of it makes one resampling.

    Returns float32 from 0 to 255; the images themselves where there is nothing to do.
    """
    if not straighten and not spread:
        return images
    return torch.cat([_resample(batch, *preparation(batch, straighten, spread, zoom)) for batch in images.split(1000)])


def preparation(images, straighten, spread, zoom=(1.0, 1.0)):
    """Return the Maps by which `prepare` resamples images."""
    x, y, xx, yy, xy = moments(images)
    shear = torch.zeros_like(xx)
    if straighten:  # a single row of ink has no slant
        shear = (xy / yy.clamp(min=1e-3)).clamp(-STEEPEST, STEEPEST)
    deviation_across, deviation_down = (xx - 2 * shear * xy + shear**2 * yy).clamp(min=0).sqrt(), yy.sqrt()
    step_across = ((deviation_across / SPREAD[0]) ** spread).clamp(SMALLEST_STEP, LARGEST_STEP) / zoom[0]
    step_down = ((deviation_down / SPREAD[1]) ** spread).clamp(SMALLEST_STEP, LARGEST_STEP) / zoom[1]
    matrix = torch.stack([step_across, shear * step_down, torch.zeros_like(shear), step_down], dim=1).view(-1, 2, 2)
    centre = torch.stack([x, y], dim=1).unsqueeze(2)
    return Maps(matrix, centre - matrix @ centre)


def moments(images):
    """Return where the ink of each image (N, 1, H, W) has its centre, and its second moments about that.

    Five tensors of shape (N,): the centre across and down, in pixels from the middle of the image; the variances
    across and down and the covariance, in square pixels. A blank image has zeros.
    """
    ink = images.squeeze(1).float()
    across, down = (torch.arange(size, device=ink.device) - (size - 1) / 2 for size in (ink.shape[2], ink.shape[1]))
    mass = ink.sum((1, 2)).clamp(min=1e-6)
    x, y = ink.sum(1) @ across / mass, ink.sum(2) @ down / mass
    xx, yy = ink.sum(1) @ across**2 / mass - x**2, ink.sum(2) @ down**2 / mass - y**2
    xy = (ink @ across) @ down / mass - x * y
    return x, y, xx.clamp(min=0), yy.clamp(min=0), xy


def augment(images, generator, rotation=0.0, translation=0.0, scale=0.0, shear=0.0, elastic=0.0, after=None):
    """Move each image of a batch by its own random affine map, and bend it; what comes in from outside is black.

    Each amount is the largest one, drawn uniformly in both directions: `rotation` in degrees, `translation` in pixels
    along each axis, `scale` and `shear` as fractions (0.1: from 90 % to 110 %). `elastic` is how many pixels each knot
    of a net of 4 x 4 is pulled along each axis, what lies between following smoothly: the idea of the elastic
    distortions of Simard, Steinkraus and Platt 2003. `generator` is one on the CPU, so that every device sees the same
    draws. Takes values from 0 to 255 and returns them as float32. `after` are Maps to be applied first, which takes no
    resampling of its own.
    """
    draw = 2 * torch.rand(5, len(images), generator=generator) - 1
    bend = None
    if elastic:
        knots = elastic * (2 * torch.rand(len(images), 2, KNOTS**2, generator=generator) - 1)
        bend = (knots @ _net(*images.shape[-2:])).view(-1, 2, *images.shape[-2:])
    return affine(
        images,
        angle=draw[0] * rotation,
        right=draw[1] * translation,
        down=draw[2] * translation,
        scale=1 + draw[3] * scale,
        shear=draw[4] * shear,
        bend=bend,
        after=after,
    )


@functools.cache
def _net(height, width):
    """Return by how much each knot pulls each pixel: (KNOTS ** 2, height * width), bicubic curves through the knots."""
    one_each = torch.eye(KNOTS**2).view(-1, 1, KNOTS, KNOTS)
    return interpolate(one_each, (height, width), mode="bicubic", align_corners=True).flatten(1)


def affine(images, angle, right, down, scale, shear, bend=None, after=None):
    """Shear, then rotate, enlarge and shift each image by its own amounts, all tensors of shape (N,).

    `angle` is in degrees, counterclockwise; `right` and `down` in pixels; `scale` over 1 enlarges; `shear` moves a row
    sideways by that fraction of its distance from the centre. `bend` (N, 2, H, W), in pixels across and down, is how
    much further each pixel of the result looks. `after` are Maps to be applied before that. Returns float32 of the
    images' shape.
    """
    angle = angle * (math.pi / 180)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # The inverse of the map that the caller describes: where does an output pixel come from?
    inverse = torch.stack([cos - shear * sin, -sin - shear * cos, sin, cos], dim=1) / scale.unsqueeze(1)
    inverse = inverse.view(-1, 2, 2)
    shift = torch.stack([right, down], dim=1).unsqueeze(2)
    offset = -inverse @ shift
    if after is not None:  # from the result back to the prepared image, and from there to the one in the file
        device = after.matrix.device
        inverse, offset = after.matrix @ inverse.to(device), after.matrix @ offset.to(device) + after.offset
        if bend is not None:
            bend = (after.matrix @ bend.to(device).flatten(2)).view_as(bend)
    return _resample(images, inverse, offset, bend)


def _resample(images, matrix, offset, bend=None):
    """Fill each output pixel from `matrix` (N, 2, 2) times its place plus `offset` (N, 2, 1).

    Places and offsets are in pixels from the middle of the image, which is square. Bilinear; outside is black.
    """
    theta = torch.cat([matrix, offset * (2 / images.shape[-1])], dim=2)  # to torch the image spans -1 to 1
    grid = affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    if bend is not None:
        grid = grid + bend.permute(0, 2, 3, 1).to(images.device) * (2 / images.shape[-1])
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
