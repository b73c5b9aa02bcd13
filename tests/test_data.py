"""MNIST's checks on files that are whole, damaged and missing, and the augmentation against exact cases."""

import shutil

import pytest
import torch
from torchvision.datasets import MNIST

from src.data import MEAN, ROOT, SHA256, STD, DataError, affine, augment, data_root, load_mnist, normalise
from tests.conftest import write_synthetic_mnist

# ---------------------------------------------------------------- files


def test_real_mnist(real_root):
    data = load_mnist(real_root)
    assert data.official
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    assert data.train_images.dtype == torch.uint8
    assert data.test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = data.train_images.double() / 255
    assert pixels.mean().item() == pytest.approx(MEAN, abs=5e-5)
    assert pixels.std().item() == pytest.approx(STD, abs=5e-5)


def test_validation_split_is_the_end_of_train(tmp_path):
    root = write_synthetic_mnist(tmp_path, train=10_050, test=10)
    whole, held_out = load_mnist(root), load_mnist(root, validation=True)
    assert (whole.split, held_out.split) == ("test", "validation")
    assert torch.equal(held_out.train_images, whole.train_images[:50])
    assert torch.equal(held_out.test_images, whole.train_images[50:])
    assert torch.equal(held_out.test_labels, whole.train_labels[50:])


def test_train_limit(synthetic_root, data):
    few = load_mnist(synthetic_root, train_limit=37)
    assert torch.equal(few.train_images, data.train_images[:37])
    assert len(few.test_images) == len(data.test_images) == 200
    with pytest.raises(DataError, match="train_limit must be from 1 to 600, got 601"):
        load_mnist(synthetic_root, train_limit=601)
    with pytest.raises(DataError, match="the validation split needs over 10000 images, got 600"):
        load_mnist(synthetic_root, validation=True)


def test_synthetic_data_never_pass_for_mnist(data):
    assert not data.official


@pytest.fixture
def copy(synthetic_root, tmp_path):
    return shutil.copytree(synthetic_root, tmp_path / "copy")


@pytest.mark.parametrize("name", SHA256)
def test_damaged_files_are_named(copy, name):
    path = copy / "MNIST" / "raw" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name} is damaged .* delete it and run again"):
        load_mnist(copy)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{name} is damaged .{len(content) // 2} bytes"):
        load_mnist(copy)


def test_without_files_and_network(copy, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nothing listens on the discard port
    (copy / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        DataError, match=r"lacks t10k-labels-idx1-ubyte and MNIST could not be downloaded: .*MNIST_ROOT"
    ):
        load_mnist(copy)


def test_wrong_list_of_sums(copy):
    (copy / "MNIST" / "raw" / "SHA256SUMS").write_text("00  some-other-file\n")
    with pytest.raises(DataError, match="SHA256SUMS must list the files train-images"):
        load_mnist(copy)


def test_files_that_torchvision_would_prefer(copy):
    (copy / "MNIST" / "processed").mkdir()
    with pytest.raises(DataError, match="processed was left by an old torchvision: delete it"):
        load_mnist(copy)


def test_relative_roots_count_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    assert data_root() == ROOT / "data"
    assert data_root("numbers") == ROOT / "numbers"
    assert data_root(tmp_path) == tmp_path


def test_root_from_the_environment(synthetic_root, monkeypatch):
    monkeypatch.setenv("MNIST_ROOT", str(synthetic_root))
    assert len(load_mnist().train_images) == 600


# ---------------------------------------------------------------- augmentation


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
