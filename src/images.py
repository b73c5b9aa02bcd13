"""What is done to images between the files and the network: random affine augmentation of a batch, and scaling."""

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

MEAN, STD = 0.1307, 0.3081  # of the 60,000 training images, pixels from 0 to 1


def normalise(images):
    """Scale images with values from 0 to 255 to float32 so that the training set has mean 0, standard deviation 1."""
    return (images.float() - 255 * MEAN) / (255 * STD)


def augment(images, generator, rotation=0.0, translation=0.0, scale=0.0, shear=0.0):
    """Move each uint8 image of a batch by its own random affine map; what comes in from outside is black.

    Each amount is the largest one, drawn uniformly in both directions: `rotation` in degrees, `translation` in pixels
    along each axis, `scale` and `shear` as fractions (0.1: from 90 % to 110 %). `generator` is one on the CPU, so
    that every device sees the same draws. Returns float32 from 0 to 255.
    """
    draw = 2 * torch.rand(5, len(images), generator=generator) - 1
    return affine(
        images,
        angle=draw[0] * rotation,
        right=draw[1] * translation,
        down=draw[2] * translation,
        scale=1 + draw[3] * scale,
        shear=draw[4] * shear,
    )


def affine(images, angle, right, down, scale, shear):
    """Shear, then rotate, enlarge and shift each image by its own amounts, all tensors of shape (N,).

    `angle` is in degrees, counterclockwise; `right` and `down` in pixels; `scale` over 1 enlarges; `shear` moves a row
    sideways by that fraction of its distance from the centre. Bilinear; returns float32 of the images' shape.
    """
    angle = angle * (math.pi / 180)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # grid_sample asks where an output pixel comes from, so this is the inverse of the map that the caller describes.
    inverse = torch.stack([cos - shear * sin, -sin - shear * cos, sin, cos], dim=1).view(-1, 2, 2) / scale.view(
        -1, 1, 1
    )
    height, width = images.shape[-2:]
    shift = torch.stack([2 * right / width, 2 * down / height], dim=1).unsqueeze(2)  # the image spans -1 to 1
    theta = torch.cat([inverse, -inverse @ shift], dim=2).to(images.device)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
