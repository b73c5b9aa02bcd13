"""Pictures of every kind come out as MNIST's images did, and bad ones are refused in one sentence."""

import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.functional import pil_to_tensor

from src.demo.picture import PictureError, as_mnist
from src.learn.data import load_dataset


def picture(image, size=280, mode="L"):
    """Make a picture of an image (1, 28, 28): light on black, enlarged."""
    return Image.fromarray(image[0].numpy()).resize((size, size), Image.Resampling.NEAREST).convert(mode)


@pytest.fixture(scope="module")
def digits(real_root):
    return load_dataset(real_root, train_limit=100).train_images


def apart(image, other):
    """Return the mean distance of two images' pixels, of 255."""
    return (image.float() - other.float()).abs().mean().item()


def test_an_image_of_mnist_stays_as_it_is(digits):
    found = torch.cat([as_mnist(picture(image, 28)) for image in digits])
    assert apart(found, digits) < 1.5
    assert apart(digits.roll(1, 3), digits) > 10


CHANGES = {
    "large": lambda image: picture(image, 280),
    "huge": lambda image: picture(image, 1400),
    "dark on light": lambda image: ImageOps.invert(picture(image, 280)),
    "RGB": lambda image: ImageOps.invert(picture(image, 280)).convert("RGB"),
    "a palette": lambda image: picture(image, 280).convert("P"),
    "32 bit": lambda image: picture(image, 280).convert("I"),
    "16 bit": lambda image: picture(image, 280).convert("I;16").convert("I;16B"),
    "in a corner of a wide sheet": lambda image: wide(ImageOps.invert(picture(image, 140)), 255),
    "white on transparent": lambda image: see_through(picture(image, 280), 255),
    "black on transparent": lambda image: see_through(picture(image, 280), 0),
    "in slanting light": lambda image: shaded(picture(image, 280), fall=90),
    "faint, on grey": lambda image: ImageOps.invert(picture(image, 280)).point(lambda value: 100 + value // 3),
}


def wide(digit, background):
    sheet = Image.new("L", (600, 300), background)
    sheet.paste(digit, (430, 10))
    return sheet


def shaded(digit, fall):
    """Lay dark ink on paper that gets darker to the right, by `fall` of 255."""
    ink = pil_to_tensor(digit)[0].float() / 255
    paper = 220 - fall * torch.linspace(0, 1, ink.shape[1])
    return Image.fromarray((paper * (1 - ink)).round().to(torch.uint8).numpy())


def see_through(alpha, ink):
    colour = Image.new("RGBA", alpha.size, (ink, ink, ink, 0))
    colour.putalpha(alpha)
    return colour


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_pictures_of_any_kind_come_out_as_the_image(digits, change):
    found = torch.cat([as_mnist(change(image)) for image in digits])
    assert found.shape == (100, 1, 28, 28)
    assert found.dtype == torch.uint8
    assert apart(found, digits) < 2


def test_a_stroke_lies_in_the_middle_and_fills_the_box():
    sheet = torch.zeros(1, 90, 300, dtype=torch.uint8)
    sheet[0, 20:60, 11:15] = 200
    found = as_mnist(Image.fromarray(sheet[0].numpy()))[0, 0]
    rows, columns = torch.nonzero(found.amax(1)).flatten(), torch.nonzero(found.amax(0)).flatten()
    assert (rows[0], rows[-1], len(columns)) == (5, 24, 2)
    assert columns[0] in (13, 14)
    assert found.max() == 255


def test_a_path_and_what_is_no_picture(tmp_path, digits):
    picture(digits[0]).save(tmp_path / "digit.png")
    assert torch.equal(as_mnist(tmp_path / "digit.png"), as_mnist(picture(digits[0])))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PictureError, match=r"text.png is no image that can be read: save it as PNG or JPEG"):
        as_mnist(tmp_path / "text.png")
    with pytest.raises(PictureError, match=r"missing.png cannot be read .No such file or directory.: correct the path"):
        as_mnist(str(tmp_path / "missing.png"))
    content = (tmp_path / "digit.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=r"half.png"):
        as_mnist(tmp_path / "half.png")


def test_a_picture_too_large_for_floats_is_reduced(digits):
    assert apart(as_mnist(ImageOps.invert(picture(digits[0], 5600))), digits[0]) < 2


def test_a_sheet_with_see_through_edges(digits):
    for paper, invert in ((255, True), (0, False)):
        for image in digits[:10]:
            sheet = ImageOps.invert(picture(image)) if invert else picture(image)
            card = Image.new("RGBA", (320, 320), (paper, paper, paper, 0))
            card.paste(sheet.convert("RGBA"), (20, 20))
            assert apart(as_mnist(card), image) < 2


def test_a_picture_lies_as_its_camera_says(tmp_path, digits):
    turned = picture(digits[0]).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(tmp_path / "photo.png", exif=exif)
    upright = as_mnist(picture(digits[0]))
    assert torch.equal(as_mnist(tmp_path / "photo.png"), upright)
    with Image.open(tmp_path / "photo.png") as opened:
        assert torch.equal(as_mnist(opened), upright)


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch, digits):
    with pytest.raises(PictureError, match="the picture is blank"):
        as_mnist(Image.fromarray((60_000 + torch.arange(784) % 200).view(28, 28).to(torch.int32).numpy()))
    with pytest.raises(PictureError, match="pixels that are no numbers: save it as PNG"):
        as_mnist(Image.fromarray(torch.full((28, 28), float("nan")).numpy()))
    picture(digits[0]).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 280 * 280 // 2 - 1)
    with pytest.raises(PictureError, match=r"large.png has too many pixels: make it smaller"):
        as_mnist(tmp_path / "large.png")


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (500, 3)])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_blank_pictures_are_refused(size, shade):
    with pytest.raises(PictureError, match="the picture is blank: draw one digit"):
        as_mnist(Image.new("L", size, shade))
