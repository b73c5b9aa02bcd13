"""Pictures of every kind come out as MNIST's images did, and bad ones are refused in one sentence."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps
from torchvision.transforms.functional import pil_to_tensor

from src import ROOT
from src.demo.picture import PictureError, as_mnist, density
from src.demo.reader import load, reader_of
from src.evidence.runs import fit
from src.evidence.schema import read_named
from src.learn.data import load_dataset
from src.learn.training import Job
from src.model import Model_8
from tests.conditions import CONDITIONS, photograph


def picture(image, size=280, mode="L"):
    """Make a picture of an image (1, 28, 28): light on black, enlarged."""
    return Image.fromarray(image[0].numpy()).resize((size, size), Image.Resampling.NEAREST).convert(mode)


@pytest.fixture(scope="module")
def digits(real_root):
    return load_dataset(real_root, train_limit=20).train_images


def read_like_the_images(pictures, images):
    """Return how many pictures Model_8 reads as it reads the images."""
    reader = load("Model_8")
    found = torch.cat([as_mnist(picture) for picture in pictures])
    answers = [reader.predict(x).argmax(1) for x in (found, images)]
    return int((answers[0] == answers[1]).sum())


def test_images_of_mnist_are_read_as_they_are(digits):
    assert read_like_the_images([picture(image, 28) for image in digits], digits) >= 19


CHANGES = {
    "large": lambda image: picture(image, 280),
    "huge": lambda image: picture(image, 1400),
    "dark on light": lambda image: ImageOps.invert(picture(image, 280)),
    "RGB": lambda image: ImageOps.invert(picture(image, 280)).convert("RGB"),
    "a palette": lambda image: picture(image, 280).convert("P"),
    "32 bit": lambda image: picture(image, 280).convert("I"),
    "16 bit": lambda image: picture(image, 280).convert("I;16").convert("I;16B"),
    "floats of any size": lambda image: Image.fromarray((np.asarray(picture(image), np.float32) / 127.5 - 1) * 3e38),
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
def test_pictures_of_any_kind_are_read_as_the_image(digits, change):
    found = as_mnist(change(digits[0]))
    assert (found.shape, found.dtype, found.max()) == ((1, 1, 28, 28), torch.uint8, 255)
    assert read_like_the_images([change(image) for image in digits], digits) >= 19


WHITE = {"I": np.int32(2**30), "F": np.float32(0.5), "I;16": np.uint16(2**15), "I;16B": np.array(2**15, ">u2")}


def in_mode(mode, digit):
    """Draw a digit in two tones: red on a blue that is as bright, or black on white where the mode has no colours."""
    paper = np.asarray(picture(digit)) < 128
    if mode in WHITE:
        return Image.fromarray((paper * WHITE[mode]).astype(WHITE[mode].dtype))
    drawn = Image.fromarray(paper)
    if mode not in ("1", "L", "LA", "La"):
        drawn = ImageOps.colorize(drawn.convert("L"), (200, 60, 60), (60, 110, 200))
    if mode in ("P", "PA"):
        drawn = drawn.convert("P", palette=Image.Palette.ADAPTIVE)
    if mode in ("La", "RGBa"):  # Pillow makes them of these only
        drawn = drawn.convert(mode.upper())
    return drawn.convert(mode)


@pytest.mark.parametrize(
    ("like", "mode"),
    [("L", mode) for mode in ("1", "LA", "La", *WHITE)]
    + [("RGB", mode) for mode in ("P", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")],
)
def test_the_mode_of_a_picture_changes_little(tmp_path, digits, like, mode):
    for digit in digits[:3]:
        drawn = in_mode(mode, digit)
        assert drawn.mode == mode
        found = as_mnist(drawn)
        assert (found.float() - as_mnist(in_mode(like, digit))).abs().mean() < 1
        if mode not in ("La", "RGBa", "HSV"):  # TIFF has all others
            drawn.save(tmp_path / "digit.tif")
            assert torch.equal(as_mnist(tmp_path / "digit.tif"), found)


PHOTOGRAPHS = sorted(Path(__file__).with_name("pictures").glob("*_?.jpg"))


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_photographs_are_read(path):
    probabilities = load("Model_8").read(path)
    assert probabilities.index(max(probabilities)) == int(path.stem[-1])


@pytest.fixture(scope="module")
def unseen(real_root, tmp_path_factory):
    """Return MNIST with validation images, and a Reader by Model_8's recipe that was trained without these."""
    data, arm = load_dataset(real_root, split="validation"), read_named("model_8_confirmation").arms["Model_8"]
    trained = fit(Job(Model_8, data, arm.recipe, 100), folder=tmp_path_factory.mktemp("runs"))
    return data, reader_of(trained, data.train_images, data.train_labels)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::src.demo.reader.UnlikeMNIST")  # a right answer may carry the warning
@pytest.mark.parametrize("condition", CONDITIONS)
def test_digits_are_read_under_all_conditions(condition, unseen):
    """Digits that the network has not learnt from; a person reads nearly all of these photographs."""
    (data, reader), random, right = unseen, np.random.default_rng(0), 0
    for at in range(40):
        picture = photograph(condition, data.eval_images[at, 0].numpy(), random)
        try:
            probabilities = reader.read(picture)
            right += probabilities.index(max(probabilities)) == data.eval_labels[at]
        except PictureError as error:
            print(at, error)
    print(condition, right)
    assert right >= 38


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("two-digits", "there are separate marks of similar size: give a picture of one digit"),
        ("scribble", "the mark is much wider than a digit: give a picture of one digit"),
        ("clouds", "give a picture of one digit"),
        ("empty-paper", "nothing stands out from the paper's grain: draw one digit, or move closer"),
    ],
)
def test_what_is_no_single_digit_is_refused(name, says):
    with pytest.raises(PictureError, match=says):
        as_mnist(Path(__file__).with_name("pictures") / f"not-one-digit_{name}.jpg")


def test_a_stroke_lies_in_the_middle_and_fills_the_box():
    sheet = torch.zeros(1, 90, 300, dtype=torch.uint8)
    sheet[0, 20:60, 11:15] = 200
    found = as_mnist(Image.fromarray(sheet[0].numpy()))[0, 0]
    rows, columns = torch.nonzero(found.amax(1) > 128).flatten(), torch.nonzero(found.amax(0) > 128).flatten()
    assert 18 <= rows[-1] - rows[0] <= 20
    assert 3 <= rows[0] <= 5
    assert 1 <= len(columns) <= 5
    assert 12 <= columns[0] <= columns[-1] <= 16


def line(width, angle=0.0):
    """Draw a stroke of so many pixels of 300."""
    image = Image.new("L", (300, 300), "white")
    ImageDraw.Draw(image).line([(150, 40), (150, 260)], fill="black", width=width)
    return image.rotate(angle, fillcolor="white")


@pytest.mark.parametrize("width", [2, 6, 30, 50])
def test_every_pen_becomes_one_of_mnists(width):
    """A digit of 220 pixels is made 20 high, so its pen should be 1.7 to 3.4 pixels wide: its ink, over its height."""
    found = as_mnist(line(width)).float() / 255
    assert 1.3 < found.sum() / 20 < 4.2


def test_ink_does_not_depend_on_the_light():
    paper = np.full((240, 320, 3), 230.0)
    paper[:, :150] *= 0.5
    paper[40:200, 200:208] = 30
    paper[40:48, 150:200] = 30
    shaded = density(paper.astype(np.float32))
    assert shaded[100, 204] == pytest.approx(1, abs=0.2)
    assert abs(shaded[220, 20:140]).max() < 0.1
    assert abs(shaded[220, 170:300]).max() < 0.1


def test_a_path_and_what_is_no_picture(tmp_path, digits):
    picture(digits[0]).save(tmp_path / "digit.png")
    assert torch.equal(as_mnist(tmp_path / "digit.png"), as_mnist(picture(digits[0])))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PictureError, match=r"text.png is no image that can be read: save it as PNG or JPEG"):
        as_mnist(tmp_path / "text.png")
    with pytest.raises(PictureError, match=r"missing.png cannot be read .No such file or directory.: correct the path"):
        as_mnist(str(tmp_path / "missing.png"))


@pytest.mark.parametrize("name", ["", " ", "a\0b.png", "\ud800.png", "two\nlines.png"], ids=ascii)
def test_names_that_cannot_be_seen_are_quoted(name):
    with pytest.raises(PictureError, match=rf"^{re.escape(repr(name))} .*: correct the path") as error:
        as_mnist(name)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "name", ["cmyk.jpg", "cmyk.tif", "16-bit.png", "animated.gif", "animated.png", "palette.gif", "palette.png"]
)
def test_files_of_every_kind_are_read(tmp_path, digits, name):
    dark = ImageOps.invert(picture(digits[0]))
    kind = {
        "c": dark.convert("CMYK"),
        "1": Image.fromarray(np.asarray(dark).astype(np.uint16) * 257),
        "a": dark,
        "p": dark.convert("P"),
    }
    more = {"save_all": True, "append_images": [picture(digits[1])]} if name.startswith("animated") else {}
    if name.startswith("palette"):
        more = {"transparency": 255}  # the paper
    kind[name[0]].save(tmp_path / name, **more)  # the first picture of an animation counts
    assert read_like_the_images([tmp_path / name], digits[:1]) == 1


def test_files_that_cannot_be_read_are_named(tmp_path, monkeypatch, digits):
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", False)  # as on a machine without Ghostscript
    for name in ("half.jpg", "half.png", "drawing.eps"):
        picture(digits[0]).save(tmp_path / name)
    for half in tmp_path.glob("half.*"):
        half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    for name, cure in (
        ("half.jpg", "save it as PNG or JPEG"),
        ("half.png", "save it as PNG or JPEG"),
        ("drawing.eps", "save it as PNG or JPEG"),
        ("empty.png", "save it as PNG or JPEG"),
        ("folder.png", "correct the path or file"),
    ):
        with pytest.raises(PictureError, match=rf"{name} .*: {cure}$") as error:
            as_mnist(tmp_path / name)
        assert "Ghostscript" not in str(error.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damaged_files_are_read_or_refused(tmp_path, digits, kind):
    """Neither another error nor a warning comes out."""
    ImageOps.colorize(picture(digits[0], 56), "blue", "yellow").save(tmp_path / "whole", kind)
    content, random = np.frombuffer((tmp_path / "whole").read_bytes(), np.uint8), np.random.default_rng(0)
    for _ in range(20):
        damaged = content[: random.integers(1, len(content) + 1)].copy()
        damaged[random.integers(min(len(damaged), random.choice([40, len(damaged)])), size=3)] = random.integers(256)
        (tmp_path / "damaged").write_bytes(damaged.tobytes())
        with contextlib.suppress(PictureError):
            as_mnist(tmp_path / "damaged")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read as Linux tells it")
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_photograph_of_12_megapixels_needs_less_than_a_gigabyte(tmp_path, kind):
    with Image.open(PHOTOGRAPHS[0]) as small:
        small.resize((4000, 3000)).save(tmp_path / f"large.{kind}")
    program = (  # Linux's ru_maxrss would count what the parent had
        "import re, sys; from src.demo.reader import load; answers = load('Model_8').read(sys.argv[1]);"
        "status = open('/proc/self/status').read();"
        "print(answers.index(max(answers)), re.search(r'VmHWM:\\s+(\\d+)', status)[1])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / f"large.{kind}")]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    digit, kibibytes = map(int, said.split())
    assert digit == int(PHOTOGRAPHS[0].stem[-1])
    assert kibibytes < 10**9 / 1024


def test_a_picture_too_large_for_floats_is_reduced(digits):
    assert read_like_the_images([ImageOps.invert(picture(digits[0], 5600))], digits[:1]) == 1


def test_a_sheet_with_see_through_edges(digits):
    for paper, invert in ((255, True), (0, False)):
        cards = []
        for image in digits[:10]:
            sheet = ImageOps.invert(picture(image)) if invert else picture(image)
            card = Image.new("RGBA", (320, 320), (paper, paper, paper, 0))
            card.paste(sheet.convert("RGBA"), (20, 20))
            cards.append(card)
        assert read_like_the_images(cards, digits[:10]) >= 9


def test_a_picture_lies_as_its_camera_says(tmp_path, digits):
    turned = picture(digits[0]).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(tmp_path / "photo.png", exif=exif)
    upright = as_mnist(picture(digits[0]))
    assert torch.equal(as_mnist(tmp_path / "photo.png"), upright)
    with Image.open(tmp_path / "photo.png") as opened:
        assert torch.equal(as_mnist(opened), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_lies_as_broken_metadata_says(tmp_path, digits, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture(digits[0]).save(tmp_path / "photo.png", exif=exif)
    with Image.open(tmp_path / "photo.png") as opened:
        upright = as_mnist(ImageOps.exif_transpose(opened))
    assert torch.equal(as_mnist(tmp_path / "photo.png"), upright)
    width = "0100 0002 00000001 41000000"  # a letter
    broken = bytes.fromhex(f"{width} 0112 0003 00000001 000{orientation}0000 00000000")
    picture(digits[0]).save(tmp_path / "photo.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\2" + broken)
    assert torch.equal(as_mnist(tmp_path / "photo.png"), upright)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp"])
@pytest.mark.parametrize("exif", [b"no metadata", b"MM\0*\0\0\0\x08\0\2\1\0"], ids=["none", "half"])
def test_a_picture_is_read_without_its_metadata(tmp_path, digits, name, exif):
    picture(digits[0]).save(tmp_path / name)
    plain = as_mnist(tmp_path / name)
    picture(digits[0]).save(tmp_path / name, exif=b"Exif\0\0" + exif)
    assert torch.equal(as_mnist(tmp_path / name), plain)


def test_a_picture_of_many_pixels_is_read_without_a_warning(tmp_path, monkeypatch, digits):
    picture(digits[0]).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 280 * 280 - 1)  # up to twice as many, Pillow only warns
    assert torch.equal(as_mnist(tmp_path / "large.png"), as_mnist(picture(digits[0])))


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch, digits):
    with pytest.raises(PictureError, match="nothing stands out from the paper's grain"):
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
    with pytest.raises(PictureError, match="nothing stands out from the paper's grain: draw one"):
        as_mnist(Image.new("L", size, shade))
