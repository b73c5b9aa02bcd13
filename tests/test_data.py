"""MNIST's checks on files that are whole, damaged, missing, and not MNIST's at all."""

import functools
import gzip
import hashlib
import http.server
import os
import shutil
import threading

import pytest
import torch
from torchvision.datasets import MNIST

from src import ROOT
from src.learn.data import DATASETS, FILES, DataError, DataSetSpec, load_dataset, raw_folder, torchvision_root
from src.learn.data import MNIST as OURS
from src.learn.images import Statistics, measure_statistics
from tests.helpers import write_idx, write_synthetic_mnist


def test_real_mnist(real_root):
    data = load_dataset(real_root)
    assert data.official
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.eval_images.shape == (10_000, 1, 28, 28)
    assert data.train_images.dtype == torch.uint8
    assert data.eval_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.statistics == OURS.statistics


def test_validation_split_is_the_end_of_train(tmp_path):
    root = write_synthetic_mnist(tmp_path, train=10_050, test=10)
    whole, held_out = load_dataset(root), load_dataset(root, split="validation")
    assert (whole.split, held_out.split) == ("test", "validation")
    assert torch.equal(held_out.train_images, whole.train_images[:50])
    assert torch.equal(held_out.eval_images, whole.train_images[50:])
    assert torch.equal(held_out.eval_labels, whole.train_labels[50:])


def test_train_limit_and_split(synthetic_root, data):
    few = load_dataset(synthetic_root, train_limit=37)
    assert torch.equal(few.train_images, data.train_images[:37])
    assert len(few.eval_images) == len(data.eval_images) == 200
    with pytest.raises(DataError, match="train_limit must be from 1 to 600, got 601"):
        load_dataset(synthetic_root, train_limit=601)
    with pytest.raises(DataError, match="the validation split needs over 10000 images, got 600"):
        load_dataset(synthetic_root, split="validation")
    with pytest.raises(DataError, match="split must be one of test, validation, got 'train'"):
        load_dataset(synthetic_root, split="train")


def test_data_of_ones_own_never_pass_for_mnist_and_bring_their_own_statistics(data):
    """Numbers of MNIST's would scale them wrongly without a word."""
    assert not data.official
    assert data.statistics == measure_statistics(data.train_images) != OURS.statistics
    pixels = data.train_images.double() / 255
    assert (data.statistics.mean, data.statistics.std) == pytest.approx((pixels.mean().item(), pixels.std().item()))


def test_another_data_set_is_one_entry(tmp_path, monkeypatch):
    write_synthetic_mnist(tmp_path, train=10_020, test=10)
    folder = (tmp_path / "MNIST").rename(tmp_path / "Letters") / "raw"
    (folder / "SHA256SUMS").unlink()
    letters = DataSetSpec(
        source=type("Letters", (MNIST,), {}),
        sha256=tuple(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES),
        statistics=Statistics(mean=0.2, std=0.3, ink_x=4.0, ink_y=5.0),
        classes=tuple("ABCDEFGHIJ"),
    )
    monkeypatch.setitem(DATASETS, "Letters", letters)
    data = load_dataset(tmp_path, DATASETS["Letters"])
    held_out = load_dataset(tmp_path, DATASETS["Letters"], split="validation")
    assert data.official
    assert held_out.official
    assert (data.statistics, data.classes) == (letters.statistics, letters.classes)
    assert torch.equal(held_out.train_images, data.train_images[:20])
    assert torch.equal(held_out.eval_labels, data.train_labels[20:])
    folder.parent.rename(tmp_path / "MNIST")
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged or another file"):
        load_dataset(tmp_path, DATASETS["MNIST"])


@pytest.fixture
def copy(synthetic_root, tmp_path):
    return shutil.copytree(synthetic_root, tmp_path / "copy")


def raw(root):
    return root / "MNIST" / "raw"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_named(copy, name):
    path = raw(copy) / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=f"{name} is damaged or another file .*: restore the file, or correct SHA256SUMS"
    ):
        load_dataset(copy)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{name} is damaged or another file .{len(content) // 2} bytes"):
        load_dataset(copy)


def dotted(path):
    """Rename as an archive does that also has folders of the right names."""
    path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    path.mkdir()


def packed(path):
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.mark.parametrize("change", [dotted, packed])
@pytest.mark.parametrize("inside", [".", "MNIST/raw"])
def test_files_under_other_usual_names_are_read(copy, data, monkeypatch, change, inside):
    for name in FILES:
        change(raw(copy) / name)
    before = contents(raw(copy))
    monkeypatch.setenv("MNIST_ROOT", str(copy / inside))
    assert load_dataset().sha256 == data.sha256
    with torchvision_root() as root:
        assert torch.equal(MNIST(root, train=False).data, data.eval_images[:, 0])
    assert contents(raw(copy)) == before


def test_packed_files_are_checked(copy):
    path = raw(copy) / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    packed(path)
    path = path.with_name(f"{path.name}.gz")
    whole = path.read_bytes()
    for broken in (whole[:-9], whole[:40] + b"damage" + whole[46:], b"no gzip"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz cannot be read .*delete it"):
            load_dataset(copy)
    path.write_bytes(gzip.compress(content[:-1] + b"x"))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is damaged or another file .*restore the file"):
        load_dataset(copy)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Let torchvision download from this machine: black images and zeros in MNIST's place, with their checksums."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name in FILES:
        write_idx(folder / name, torch.zeros((7, 28, 28) if "images" in name else 7))
        packed = gzip.compress((folder / name).read_bytes())
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    handler = functools.partial(QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(MNIST, "resources", resources)
        yield
        server.shutdown()


@pytest.mark.usefixtures("mirror")
def test_a_users_own_files_are_never_replaced(copy):
    (raw(copy) / "t10k-labels-idx1-ubyte").unlink()
    before = contents(raw(copy))
    with pytest.raises(DataError, match=r"lacks t10k-labels-idx1-ubyte: its SHA256SUMS says that they are your own"):
        load_dataset(copy)
    assert contents(raw(copy)) == before
    (raw(copy) / "SHA256SUMS").unlink()  # then they pass for damaged copies of MNIST's: left alone as well
    before = contents(raw(copy))
    with pytest.raises(DataError, match=r"is damaged or another file .*if it is your own, list it in a SHA256SUMS"):
        load_dataset(copy)
    assert contents(raw(copy)) == before


@pytest.mark.usefixtures("mirror")
def test_only_what_is_missing_is_downloaded(tmp_path, real_root):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    kept = shutil.copy(raw_folder(real_root) / "t10k-labels-idx1-ubyte", raw(tmp_path))
    stamp = os.stat(kept).st_mtime_ns
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged or another file"):  # the mirror's are
        load_dataset(tmp_path)
    assert os.stat(kept).st_mtime_ns == stamp
    assert len(contents(raw(tmp_path))["train-labels-idx1-ubyte"]) == 8 + 7
    assert set(contents(raw(tmp_path))) == set(FILES)
    assert len(list(raw(tmp_path).iterdir())) == 4  # nothing of the download is left lying


def test_without_files_and_network(tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nothing listens on the discard port
    with pytest.raises(
        DataError, match=r"lacks train-images.* and MNIST could not be downloaded .Error downloading.*: .*MNIST_ROOT"
    ):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"00  some-other-file\n", "SHA256SUMS must list the files train-images"),
        (b"\xff\xfe\x00\x01", "SHA256SUMS cannot be read .not text.: correct or delete it"),
    ],
)
def test_wrong_list_of_sums(copy, content, says):
    (raw(copy) / "SHA256SUMS").write_bytes(content)
    with pytest.raises(DataError, match=says):
        load_dataset(copy)


def test_list_of_sums_as_windows_writes_it(copy):
    path = raw(copy) / "SHA256SUMS"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").replace(b"  ", b" *"))
    assert len(load_dataset(copy).train_images) == 600


def test_list_of_sums_in_capitals(copy):
    path = raw(copy) / "SHA256SUMS"
    lines = (line.split() for line in path.read_text().splitlines())
    path.write_text("".join(f"{digest.upper()}  {name}\n" for digest, name in lines))
    assert len(load_dataset(copy).train_images) == 600


@pytest.mark.parametrize("name", ["t10k-labels-idx1-ubyte", "SHA256SUMS"])
def test_what_is_no_file_is_named(copy, name):
    path = raw(copy) / name
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=f"{name} cannot be read .Is a directory"):
        load_dataset(copy)
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(DataError, match=f"{name} cannot be read .Too many levels of symbolic links"):
        load_dataset(copy)


def rewritten(copy, name, content):
    """Put other content behind a name, with its right checksum."""
    path = raw(copy) / name
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(content)
    sums = raw(copy) / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(content).hexdigest()))


def test_labels_and_images_that_do_not_match(copy):
    write_idx(copy / "labels", torch.zeros(199))
    rewritten(copy, "t10k-labels-idx1-ubyte", (copy / "labels").read_bytes())
    with pytest.raises(DataError, match=r"the t10k files must hold as many labels as images .* got 199 labels"):
        load_dataset(copy)


@pytest.mark.parametrize("label", [10, 17])
def test_a_wrong_label_is_named(copy, label):
    labels = torch.arange(200) % 10
    labels[150] = label
    write_idx(copy / "labels", labels)
    rewritten(copy, "t10k-labels-idx1-ubyte", (copy / "labels").read_bytes())
    with pytest.raises(DataError, match=f"t10k-labels-idx1-ubyte holds the label {label}: labels must be 0 to 9"):
        load_dataset(copy)


@pytest.mark.parametrize("pixel", [0, 255])
def test_blank_images_are_refused(copy, pixel):
    """They have no contrast that they could be scaled by."""
    write_idx(copy / "images", torch.full((600, 28, 28), pixel))
    rewritten(copy, "train-images-idx3-ubyte", (copy / "images").read_bytes())
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte holds blank images, every pixel is {pixel}: put"):
        load_dataset(copy)


@pytest.mark.parametrize("content", [b"", b"no IDX file at all"])
def test_files_that_are_not_idx(copy, content):
    rewritten(copy, "train-images-idx3-ubyte", content)
    with pytest.raises(DataError, match="train-images-idx3-ubyte is not an IDX file of bytes: restore it"):
        load_dataset(copy)


def test_the_hash_is_of_the_tensors(data, copy):
    """Whatever changes a single pixel, label or split is other data, whichever line of the code did it."""
    assert load_dataset(copy).sha256 == data.sha256
    assert load_dataset(copy, train_limit=599).sha256 != data.sha256
    images = bytearray((raw(copy) / "train-images-idx3-ubyte").read_bytes())
    images[-1] ^= 1
    rewritten(copy, "train-images-idx3-ubyte", bytes(images))
    assert load_dataset(copy).sha256 != data.sha256


def test_a_mistyped_folder_is_not_made(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"mnits, named by data_dir, is not a folder: correct the name, or create"):
        load_dataset(tmp_path / "mnits")
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path / "mnits"))
    with pytest.raises(DataError, match="mnits, named by MNIST_ROOT, is not a folder"):
        load_dataset()
    assert not list(tmp_path.iterdir())


def test_an_unknown_home_folder_is_named(monkeypatch):
    with pytest.raises(DataError, match=r"~nobody-here/x, named by data_dir, .*: write the folder out"):
        load_dataset("~nobody-here/x")
    monkeypatch.setenv("MNIST_ROOT", "~nobody-here/x")
    with pytest.raises(DataError, match=r"~nobody-here/x, named by MNIST_ROOT, .*: write the folder out"):
        load_dataset()


@pytest.mark.parametrize("inside", [".", "MNIST", "MNIST/raw"])
def test_a_root_inside_mnist_is_understood(synthetic_root, inside):
    assert raw_folder(synthetic_root / inside).samefile(raw(synthetic_root))
    assert len(load_dataset(synthetic_root / inside).train_images) == 600


def test_relative_roots_count_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    assert raw_folder() == ROOT / "data" / "MNIST" / "raw"
    assert raw_folder("notebooks") == ROOT / "notebooks" / "MNIST" / "raw"
    assert raw_folder(tmp_path) == tmp_path / "MNIST" / "raw"
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    assert raw_folder() == tmp_path / "MNIST" / "raw"
