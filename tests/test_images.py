"""Augmentation and scaling against exact cases."""

import pytest
import torch

from src.images import MEAN, STD, affine, augment, normalise


def move(images, angle=0.0, right=0.0, down=0.0, scale=1.0, shear=0.0):
    amounts = (torch.full((len(images),), float(value)) for value in (angle, right, down, scale, shear))
    return affine(images, *amounts)


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def close(a, b):
    return torch.allclose(a.float(), b.float(), atol=0.02)  # of 255


def test_no_move_is_the_identity(images):
    assert close(move(images), images)


def test_quarter_turns(images):
    assert close(move(images, angle=90), images.rot90(1, (2, 3)))
    assert close(move(images, angle=-90), images.rot90(-1, (2, 3)))


def test_shifts_are_in_pixels_and_black_comes_in(images):
    moved = move(images, right=3, down=-2)
    assert close(moved[..., :26, 3:], images[..., 2:, :25])
    assert moved[..., 26:, :].abs().max() < 0.02
    assert moved[..., :3].abs().max() < 0.02


def test_scale_enlarges_about_the_centre():
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[..., 7:21, 7:21] = 200  # 14 pixels wide in the middle
    doubled = move(image, scale=2)
    assert doubled[..., 1:27, 1:27].min() > 199
    assert move(image, scale=0.5).sum() == pytest.approx(200 * 7 * 7, rel=0.01)


def test_shear_moves_rows_sideways():
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[..., :, 13:15] = 200
    columns = torch.arange(28.0)
    rows = move(image, shear=0.25)[0, 0]
    centre = (rows * columns).sum(1) / rows.sum(1)
    assert torch.allclose(centre, 13.5 + 0.25 * (columns - 13.5), atol=0.01)


def test_each_image_moves_by_itself():
    same = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    same[..., 10:18, 13:15] = 255
    moved = augment(same, torch.Generator().manual_seed(0), rotation=10, translation=2)
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 64


def moments(images):
    """Measure centre (right, down), angle in degrees of the long axis, and mass of each image."""
    weights, at = images.double().squeeze(1), torch.arange(28.0).double() - 13.5
    mass = weights.sum((1, 2))
    x, y = (weights.sum(1) * at).sum(1) / mass, (weights.sum(2) * at).sum(1) / mass
    xx = (weights.sum(1) * at**2).sum(1) / mass - x**2
    yy = (weights.sum(2) * at**2).sum(1) / mass - y**2
    xy = (weights * at[None, :, None] * at).sum((1, 2)) / mass - x * y
    return {"right": x, "down": y, "angle": torch.rad2deg(torch.atan2(2 * xy, yy - xx) / 2), "mass": mass}


@pytest.mark.parametrize(
    ("amount", "measured", "lowest", "highest"),
    [
        ({"translation": 2.0}, "right", -2, 2),
        ({"translation": 2.0}, "down", -2, 2),
        ({"rotation": 10.0}, "angle", -10, 10),
        ({"scale": 0.1}, "mass", 0.9**2, 1.1**2),
        # Sheared rows of an upright bar lie on a line of that slope.
        ({"shear": 0.15}, "angle", -8.53, 8.53),
    ],
)
def test_amounts_are_reached_and_kept(amount, measured, lowest, highest):
    bar = torch.zeros(2000, 1, 28, 28, dtype=torch.uint8)
    columns = slice(6, 22) if measured == "mass" else slice(13, 15)
    bar[..., 4:24, columns] = 255
    values = moments(augment(bar, torch.Generator().manual_seed(0), **amount))[measured]
    if measured == "mass":
        values = values / (255 * 20 * 16)
    span = highest - lowest
    assert lowest - 0.02 * span <= values.min() <= lowest + 0.02 * span
    assert highest - 0.02 * span <= values.max() <= highest + 0.02 * span
    assert values.median() == pytest.approx((highest + lowest) / 2, abs=0.06 * span)


def test_augmentation_has_its_own_stream(images):
    before = torch.get_rng_state()
    one = augment(images, torch.Generator().manual_seed(3), rotation=9, scale=0.2, shear=0.2)
    two = augment(images, torch.Generator().manual_seed(3), rotation=9, scale=0.2, shear=0.2)
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)


def test_normalise_leaves_its_argument_alone(images):
    floats = images.float()
    assert torch.equal(normalise(floats), normalise(images))
    assert torch.equal(floats, images.float())
    expected = (images.double() / 255 - MEAN) / STD
    assert torch.allclose(normalise(images).double(), expected, atol=1e-6)
