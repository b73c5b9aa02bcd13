"""Preprocessing, augmentation and scaling against exact cases."""

import pytest
import torch

from src.learn.data import MNIST, load_dataset
from src.learn.images import Preprocess, affine, augment, measure_statistics, moments, normalise
from src.learn.recipe import Recipe


def move(images, angle=0.0, right=0.0, down=0.0, scale=1.0, shear=0.0):
    amounts = (torch.full((len(images),), float(value)) for value in (angle, right, down, scale, shear))
    return affine(images, *amounts)


@pytest.fixture
def images():
    return torch.randint(0, 256, (3, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def preprocessed(images, **settings):
    """Preprocess by a recipe that does just this."""
    return Preprocess(Recipe(**settings), MNIST.statistics)(images)


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


def measured(images):
    """Measure centre (right, down), second moments, angle in degrees of the long axis, and mass of each image."""
    weights, at = images.double().squeeze(1), torch.arange(28.0).double() - 13.5
    mass = weights.sum((1, 2))
    x, y = (weights.sum(1) * at).sum(1) / mass, (weights.sum(2) * at).sum(1) / mass
    xx = (weights.sum(1) * at**2).sum(1) / mass - x**2
    yy = (weights.sum(2) * at**2).sum(1) / mass - y**2
    xy = (weights * at[None, :, None] * at).sum((1, 2)) / mass - x * y
    angle = torch.rad2deg(torch.atan2(2 * xy, yy - xx) / 2)
    return {"right": x, "down": y, "xx": xx, "yy": yy, "xy": xy, "angle": angle, "mass": mass}


@pytest.mark.parametrize(
    ("amount", "quantity", "lowest", "highest"),
    [
        ({"translation": 2.0}, "right", -2, 2),
        ({"translation": 2.0}, "down", -2, 2),
        ({"rotation": 10.0}, "angle", -10, 10),
        ({"scale": 0.1}, "mass", 0.9**2, 1.1**2),
        # Sheared rows of an upright bar lie on a line of that slope.
        ({"shear": 0.15}, "angle", -8.53, 8.53),
    ],
)
def test_strengths_are_reached_and_kept(amount, quantity, lowest, highest):
    """Of 2000 equal bars each is moved by an amount of its own."""
    bar = torch.zeros(2000, 1, 28, 28, dtype=torch.uint8)
    columns = slice(6, 22) if quantity == "mass" else slice(13, 15)
    bar[..., 4:24, columns] = 255
    values = measured(augment(bar, torch.Generator().manual_seed(0), **amount))[quantity]
    if quantity == "mass":
        values = values / (255 * 20 * 16)
    span = highest - lowest
    assert lowest - 0.02 * span <= values.min() <= lowest + 0.02 * span
    assert highest - 0.02 * span <= values.max() <= highest + 0.02 * span
    assert values.median() == pytest.approx((highest + lowest) / 2, abs=0.06 * span)


def test_a_displacement_looks_where_it_says(images):
    """A displacement that is the same everywhere is a shift, and by whole pixels an exact one."""
    displacement = torch.zeros(3, 2, 28, 28)
    displacement[:, 0], displacement[:, 1] = 2, -3  # each pixel looks 2 to the right and 3 up
    still = torch.zeros(3)
    bent = affine(images, still, still, still, still + 1, still, displacement)
    assert close(bent[..., 3:, :26], images[..., :25, 2:])


def test_elastic_distortion_bends_lines_but_not_far():
    line = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    line[..., 13:15] = 255
    bent = augment(line, torch.Generator().manual_seed(0), elastic=2.0)
    at = torch.arange(28.0) - 13.5
    inner = bent[:, 0, 3:25]  # the outer rows may look beyond the line's ends
    centres = (inner @ at) / inner.sum(2)  # of each row's ink
    assert centres.abs().max() < 3  # bicubic curves overshoot their knots a little
    assert centres.std() > 0.5
    assert (centres.diff(dim=1).diff(dim=1).abs() < 0.5).all()  # smooth
    slope, level = centres[:, -1:] - centres[:, :1], centres[:, :1]
    straight = level + slope * torch.arange(22.0) / 21
    assert (centres - straight).abs().amax(1).median() > 0.5  # no affine map does that


def test_augmentation_has_its_own_stream(images):
    before = torch.get_rng_state()
    one = augment(images, torch.Generator().manual_seed(3), rotation=9, scale=0.2, shear=0.2)
    two = augment(images, torch.Generator().manual_seed(3), rotation=9, scale=0.2, shear=0.2)
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_strength_leaves_images_and_stream_alone(images):
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert augment(images, generator, rotation=0.0, elastic=0.0) is images
    assert torch.equal(generator.get_state(), before)


def test_normalise_leaves_its_argument_alone(images):
    floats = images.float()
    assert torch.equal(normalise(floats, MNIST.statistics), normalise(images, MNIST.statistics))
    assert torch.equal(floats, images.float())
    expected = (images.double() / 255 - MNIST.statistics.mean) / MNIST.statistics.std
    assert torch.allclose(normalise(images, MNIST.statistics).double(), expected, atol=1e-6)


# ---------------------------------------------------------------- preprocessing


def bar(angle=0.0, shear=0.0, right=0.0, down=0.0, width=4, height=18):
    """Draw an upright bar, then shear, turn and shift it."""
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[..., 14 - height // 2 : 14 + height // 2, 14 - width // 2 : 14 + width // 2] = 255
    return move(image, angle=angle, shear=shear, right=right, down=down)


def test_moments_of_a_bar():
    """A uniform bar of n pixels has the variance (n * n - 1) / 12."""
    found = torch.cat(moments(bar(width=4, height=18, right=2, down=-3)))
    assert found.tolist() == pytest.approx([2, -3, 15 / 12, 323 / 12, 0], abs=1e-2)


@pytest.mark.parametrize("shear", [-0.6, -0.25, 0.3, 0.7])
def test_a_sheared_bar_comes_back(shear):
    upright = bar(right=1)
    sheared = bar(shear=shear, right=1)
    assert measured(sheared)["xy"].abs() > 5
    straight = preprocessed(sheared, deslant=True)
    assert measured(straight)["xy"].abs() < 0.3
    assert (straight - upright).abs().mean() < 6  # two resamplings blur the bar's edge a little
    assert (sheared - upright).abs().mean() > 10


def test_an_upright_bar_stays():
    upright = bar(right=1, down=2)
    assert close(preprocessed(upright, deslant=True), upright)


def test_nothing_to_do_is_nothing_done(images):
    assert preprocessed(images) is images


def test_the_centre_stays_where_it_is():
    slanted = bar(angle=-20, right=2, down=1)
    found = measured(preprocessed(slanted, deslant=True, size_normalisation=0.5))
    assert found["right"] == pytest.approx(2, abs=0.1)
    assert found["down"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0])
def test_size_normalisation_goes_part_of_the_way(amount):
    """From s to s ** (1 - amount) * S ** amount, within the limits."""
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[..., 6:22, 9:19] = 255  # standard deviations 2.87 across, 4.61 down
    before, after = measured(image), measured(preprocessed(image, size_normalisation=amount))
    for axis, common in zip(("xx", "yy"), (MNIST.statistics.ink_x, MNIST.statistics.ink_y), strict=True):
        expected = before[axis].sqrt() ** (1 - amount) * common**amount
        assert after[axis].sqrt() == pytest.approx(expected.item(), rel=0.02)


def test_the_limits_of_size_normalisation():
    """The thin bar lacks 85 % of the common spread across and 5 % of that down; it gets 1 / 0.7 and all of the 5 %."""
    thin = bar(width=2, height=18)
    wide = preprocessed(thin, size_normalisation=1.0)
    grown = measured(wide)["mass"] / measured(thin)["mass"]
    assert grown == pytest.approx(1 / 0.7 * MNIST.statistics.ink_y / measured(thin)["yy"].sqrt().item(), rel=0.02)


def test_a_slant_of_over_45_degrees_is_left_a_slant():
    nearly_flat = bar(angle=-80)
    assert (measured(nearly_flat)["xy"] / measured(nearly_flat)["yy"]).abs() > 1.5
    ready = preprocessed(nearly_flat, deslant=True)
    assert ready.isfinite().all()
    assert ready.sum() > 0.8 * nearly_flat.sum()  # a shear keeps the ink


@pytest.mark.parametrize("pixels", [0, 1, 28], ids=["blank", "one pixel", "one row"])
def test_images_that_have_no_slant(pixels):
    image = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    image[0, 0, 14, :pixels] = 255
    ready = preprocessed(image, deslant=True, size_normalisation=0.5)
    assert ready.isfinite().all()
    assert ready[1].abs().max() == 0
    assert (ready[0].max() > 0) == (pixels > 0)


def test_each_image_is_preprocessed_by_itself(images):
    together = preprocessed(images, deslant=True, size_normalisation=0.5)
    alone = torch.cat([preprocessed(image[None], deslant=True, size_normalisation=0.5) for image in images])
    assert torch.allclose(together, alone, atol=1e-2)


def test_the_statistics_are_those_of_the_training_images(real_root):
    found, stated = measure_statistics(load_dataset(real_root).train_images), MNIST.statistics
    assert (found.mean, found.std) == pytest.approx((stated.mean, stated.std), abs=5e-5)
    assert (found.ink_x, found.ink_y) == pytest.approx((stated.ink_x, stated.ink_y), abs=5e-3)
