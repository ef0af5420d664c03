"""Folders of images, and the AT&T faces."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from facelearn.data import ORL, ImageFolder, to_float
from tests.data.make import archive, decoded, encode, folder, picture

REAL = os.environ.get("FACELEARN_DATA")
FILES = {"bo/2.jpg": "JPEG", "bo/10.JPG": "JPEG", "Al/a.png": "PNG", "Al/b.jpeg": "JPEG", "cy/c.bmp": "BMP"}
TREE = {name: encode(picture(i), kind) for i, (name, kind) in enumerate(FILES.items())}
BESIDE = {
    "bo/.hidden.jpg": b"x",
    "bo/list.txt": b"x",
    "README": b"x",
    "photo.jpg": b"x",
    ".git/x.jpg": b"x",
    "no/x": b"",
}


def test_folder_of_folders(tmp_path: Path) -> None:
    faces = ImageFolder(folder(tmp_path, {**TREE, **BESIDE}))
    assert faces.names == ["Al", "bo", "cy"]
    assert faces.files == ["Al/a.png", "Al/b.jpeg", "bo/10.JPG", "bo/2.jpg", "cy/c.bmp"]
    assert faces.labels.tolist() == [0, 0, 1, 1, 2]
    for (image, label), file, expected in zip(faces, faces.files, faces.labels.tolist(), strict=True):
        assert torch.equal(image, to_float(torch.from_numpy(decoded(TREE[file]))))
        assert label == expected
    whole = faces.load()
    assert torch.equal(torch.stack([image for image, _ in faces]), to_float(whole.images))
    assert torch.equal(whole.labels, faces.labels)
    some = faces.load([3, 0])
    assert torch.equal(some.images, whole.images[[3, 0]])
    assert some.labels.tolist() == [1, 0]
    images, labels = next(iter(DataLoader(faces, 5, num_workers=1)))
    assert torch.equal(images, to_float(whole.images))
    assert torch.equal(labels, faces.labels)


def test_size_and_channels(tmp_path: Path) -> None:
    root = folder(tmp_path, {**TREE, "cy/big.png": encode(picture(9, (20, 20)), "PNG")})
    with pytest.raises(ValueError, match=r"cy/c.bmp: found 12x10 pixels .* expected 20x20 like the first image"):
        ImageFolder(root).load([4, 5])
    assert ImageFolder(root, size=7, channels=1).load().images.shape == (6, 1, 7, 7)
    grey = encode(picture(0, channels=1), "PNG")
    one = ImageFolder(folder(tmp_path / "grey", {"a/b.png": grey}))
    assert torch.equal(one.load().images[0], torch.from_numpy(decoded(grey)).expand(3, -1, -1))
    with pytest.raises(ValueError, match="channels: found 2, expected 1 or 3"):
        ImageFolder(root, channels=2)[0]


def test_damaged_or_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"root: found no folder .*nowhere"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="root: found no image in the subfolders of"):
        ImageFolder(folder(tmp_path / "empty", BESIDE))
    for data, message in [(b"", "found 0 bytes"), (TREE["bo/2.jpg"][:-30], "found image file is truncated")]:
        faces = ImageFolder(folder(tmp_path / "set", {**TREE, "bo/2.jpg": data}))
        with pytest.raises(ValueError, match=rf"set/bo/2.jpg: {message}"):
            faces[3]


# ---- AT&T ----------------------------------------------------------------------------------------------------

ORDER = ["s1/1.pgm", "s1/2.pgm", "s1/10.pgm", "s2/1.pgm", "s10/1.pgm"]
FACES = {f"orl_faces/{name}": encode(picture(i, (11, 9), 1), "PPM") for i, name in enumerate(ORDER)}


@pytest.mark.parametrize("form", ["folder", "tar", "tgz"])
def test_orl_in_the_order_of_its_numbers(tmp_path: Path, form: str) -> None:
    files = {**dict(reversed(FACES.items())), "orl_faces/README": b"text", "orl_faces/s1/x.pgm": b""}
    source = folder(tmp_path / "orl", files) if form == "folder" else archive(tmp_path / f"x.{form}", files)
    faces = ORL(source)
    assert faces.files == ORDER
    assert faces.names == ["s1", "s2", "s10"]
    assert faces.labels.tolist() == [0, 0, 0, 1, 2]
    for image, data in zip(faces.images, FACES.values(), strict=True):
        assert np.array_equal(image.numpy(), decoded(data))
    assert ORL(source, size=4).images.shape == (5, 1, 4, 4)


def test_orl_damaged(tmp_path: Path) -> None:
    first = next(iter(FACES))
    for change, message in [
        ({first: FACES[first][:-5]}, rf"offset \d+: {first}: found image file is truncated|not enough image data"),
        ({first: b"P5\n"}, rf"offset \d+: {first}: found"),
        ({"again/s1/1.pgm": FACES[first]}, r"found s1/1.pgm again, expected each image once"),
        ({first: encode(picture(0, (5, 5), 1), "PPM")}, "found 11x9 pixels .* expected 5x5 like the first image"),
    ]:
        with pytest.raises(ValueError, match=message):
            ORL(archive(tmp_path / "x.tar", {**FACES, **change}))
    with pytest.raises(ValueError, match=r"x.tar: found no image, expected s1/1.pgm"):
        ORL(archive(tmp_path / "x.tar", {}))


@pytest.mark.skipif(REAL is None, reason="FACELEARN_DATA is not set: no real ORL faces to read")
def test_real_orl() -> None:
    faces = ORL(Path(REAL or "") / "orl/orl_faces.tar")
    assert faces.images.shape == (400, 1, 112, 92)
    assert faces.labels.tolist() == [i // 10 for i in range(400)]
    assert faces.names == [f"s{i + 1}" for i in range(40)]
    # nearest neighbours in pixels find the person nearly always, as in every textbook
    pixels = torch.nn.functional.avg_pool2d(faces.images.float(), 4).flatten(1)
    distance = torch.cdist(pixels, pixels).fill_diagonal_(float("inf"))
    assert (faces.labels[distance.argmin(1)] == faces.labels).float().mean() > 0.95
