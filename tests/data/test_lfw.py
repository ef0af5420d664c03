"""LFW's lists and images: drawn people in its formats, damaged ones, and the real files."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facelearn.data import LFWPairs, LFWPeople, align
from facelearn.data.files import data_root, open_image, read_files
from facelearn.verification import evaluate_pairs
from tests.data.make import archive, decoded, encode, folder, picture

REAL = os.environ.get("FACELEARN_DATA")
needs_real = pytest.mark.skipif(REAL is None, reason="FACELEARN_DATA is not set: no real faces to read")

COUNTS = {"Ann_Ax": 3, "Bob_Bo": 2, "Cy_Cee": 1, "Dee": 4}
PEOPLE = "2\n2\nAnn_Ax\t3\nCy_Cee\t1\n2\nBob_Bo\t2\nDee\t4\n"
PAIRS = "2\t1\nAnn_Ax\t1\t3\nAnn_Ax\t2\tCy_Cee\t1\nDee\t4\t2\nBob_Bo\t1\tDee\t4\n"
FILES = [f"{name}/{name}_{i:04d}.jpg" for name, n in COUNTS.items() for i in range(1, n + 1)]


def images(top: str = "", kind: str = "JPEG") -> dict[str, bytes]:
    return {top + file: encode(picture(i), kind) for i, file in enumerate(FILES)}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    (tmp_path / "pairs.txt").write_text(PAIRS)
    return tmp_path / "pairs.txt"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    (tmp_path / "people.txt").write_text(PEOPLE)
    return tmp_path / "people.txt"


@pytest.mark.parametrize("form", ["folder", "top folder", "x.tar", "x.tgz", "x.tar.xz", "png"])
def test_pairs_hold_each_image_once(tmp_path: Path, pairs: Path, form: str) -> None:
    if form.startswith("x."):
        source = archive(tmp_path / form, {"README": b"", **images("any name/deeper/")})
    elif form == "png":
        source = folder(tmp_path / "png", {k.replace(".jpg", ".PNG"): v for k, v in images(kind="PNG").items()})
    else:
        source = folder(tmp_path / "lfw", {"list.txt": b"no image", **images("lfw/" if form == "top folder" else "")})
    faces = LFWPairs(pairs, source)
    named = [tuple(faces.files[i] for i in pair) for pair in faces.pairs.tolist()]
    assert named == [
        ("Ann_Ax/Ann_Ax_0001.jpg", "Ann_Ax/Ann_Ax_0003.jpg"),
        ("Ann_Ax/Ann_Ax_0002.jpg", "Cy_Cee/Cy_Cee_0001.jpg"),
        ("Dee/Dee_0004.jpg", "Dee/Dee_0002.jpg"),
        ("Bob_Bo/Bob_Bo_0001.jpg", "Dee/Dee_0004.jpg"),
    ]
    assert faces.same.tolist() == [True, False, True, False]
    assert faces.folds.tolist() == [0, 0, 1, 1]
    assert len(faces) == len(set(faces.files)) == 7
    for file, label, image in zip(faces.files, faces.labels.tolist(), faces.images, strict=True):
        assert faces.names[label] == file.split("/")[0]
        expected = decoded(images(kind="PNG" if form == "png" else "JPEG")[file])
        assert np.array_equal(image.numpy(), expected)


def test_people_in_the_order_of_their_list_and_pairs_that_share_them(tmp_path: Path, people: Path, pairs: Path) -> None:
    source = archive(tmp_path / "lfw.tar", images("lfw/"))
    everyone = LFWPeople(people, source)
    assert everyone.names == ["Ann_Ax", "Cy_Cee", "Bob_Bo", "Dee"]
    assert everyone.labels.tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 3, 3]
    assert everyone.sets.tolist() == [0] * 4 + [1] * 6
    assert everyone.images.shape == (10, 3, 12, 10)
    shared, alone = LFWPairs(pairs, everyone), LFWPairs(pairs, source)
    assert shared.images is everyone.images
    assert torch.equal(shared.images[shared.pairs], alone.images[alone.pairs])
    assert torch.equal(shared.same, alone.same)
    (tmp_path / "other.txt").write_text("1\nDee\t4\t9\nDee\t1\tAnn_Ax\t1\n")
    with pytest.raises(ValueError, match=r"other.txt: line 2: found Dee/Dee_0009.jpg, expected an image of images"):
        LFWPairs(tmp_path / "other.txt", everyone)
    with pytest.raises(ValueError, match="size, landmarks: found one"):
        LFWPairs(pairs, everyone, size=8)


def test_lists_of_view_1_are_one_fold(tmp_path: Path) -> None:
    source = folder(tmp_path / "lfw", images())
    (tmp_path / "pairsDevTest.txt").write_text("2\nAnn_Ax 1 2\nDee 1 2\nAnn_Ax 1 Dee 1\nBob_Bo 2 Cy_Cee 1\n\n")
    faces = LFWPairs(tmp_path / "pairsDevTest.txt", source)
    assert faces.folds.tolist() == [0] * 4
    assert faces.same.tolist() == [True, True, False, False]
    (tmp_path / "peopleDevTest.txt").write_text("2\r\nDee\t4\r\nBob_Bo\t2\r\n")
    everyone = LFWPeople(tmp_path / "peopleDevTest.txt", source)
    assert everyone.files == [*FILES[6:], *FILES[3:5]]
    assert everyone.sets.tolist() == [0] * 6


def test_what_evaluate_pairs_takes(tmp_path: Path, pairs: Path) -> None:
    faces = LFWPairs(pairs, folder(tmp_path / "lfw", images()))
    person = torch.nn.functional.one_hot(faces.labels, 4).float() + 0.1  # embeddings that know everybody
    result = evaluate_pairs(person, faces.pairs, faces.same, identities=faces.labels, folds=faces.folds)
    assert (result.accuracy, result.eer) == (1, 0)


def test_size(tmp_path: Path, pairs: Path) -> None:
    source = folder(tmp_path / "lfw", images(kind="PNG"))
    assert LFWPairs(pairs, source, size=6).images.shape[1:] == (3, 6, 6)
    small = LFWPairs(pairs, source, size=(6, 5)).images.float()
    whole = LFWPairs(pairs, source).images.float()
    expected = torch.nn.functional.interpolate(whole, (6, 5), mode="bilinear", antialias=True)
    assert (small - expected).abs().max() <= 1
    with pytest.raises(ValueError, match="size: found 0"):
        LFWPairs(pairs, source, size=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: found end of file, expected folds and pairs per fold"),
        ("two\t1\n", "line 1: found 'two', expected a whole number"),
        ("2\t0\n", "line 1: found '0', expected a whole number of at least 1"),
        ("2\t1\t1\n", "line 1: found '2 1 1', expected folds and pairs per fold"),
        (
            PAIRS.replace("Dee\t4\t2\n", ""),
            r"line 4: found 'Bob_Bo 1 Dee 4', expected name n1 n2 \(1 lines in",
        ),
        (PAIRS.replace("Cy_Cee\t1", "Cy_Cee"), "line 3: found 'Ann_Ax 2 Cy_Cee', expected name1 n1 name2 n2"),
        (PAIRS.replace("Cy_Cee", "Ann_Ax"), "line 3: found Ann_Ax twice, expected two people"),
        (PAIRS.replace("\t3\n", "\t1\n"), "line 2: found image 1 twice, expected two images"),
        (PAIRS.replace("\t3\n", "\t-3\n"), "line 2: found '-3', expected a whole number"),
        (PAIRS.replace("\t3\n", "\t99999999999\n"), "line 2: found '99999999999', expected a whole number"),
        (PAIRS[:-1].rsplit("\n", 1)[0], "line 5: found end of file, expected name1 n1 name2 n2"),
        (PAIRS + "Dee\t1\t2\n", "line 6: found 'Dee 1 2', expected end of file"),
        (PAIRS.replace("\t3\n", "\t9\n"), r"lfw: found no Ann_Ax/Ann_Ax_0009.jpg \(1 of 7 are missing\)"),
        (
            PAIRS.replace("Ann_Ax\t1\t3", "../../etc\t1\t2"),
            r"found no \.\./\.\./etc/\.\./\.\./etc_0001.jpg, \S+ \(2 of 7",
        ),
    ],
)
def test_damaged_pairs(tmp_path: Path, text: str, message: str) -> None:
    source = folder(tmp_path / "lfw", images())
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        LFWPairs(tmp_path / "pairs.txt", source)


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_bytes(b"2\t1\nAnn\xff\t1\t2\n")
    with pytest.raises(ValueError, match=r"pairs.txt: offset 7: found no UTF-8 text"):
        LFWPairs(tmp_path / "pairs.txt", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PEOPLE.replace("2\n2\n", "2\n3\n"), "line 5: found '2', expected a name and its number of images"),
        (PEOPLE.replace("2\n2\nAnn", "3\n2\nAnn"), "line 8: found end of file, expected the number of people of a set"),
        (PEOPLE + "Eve\t1\n", "line 8: found 'Eve 1', expected end of file"),
        (PEOPLE.replace("Bob_Bo", "Ann_Ax"), "found Ann_Ax twice, expected each name once"),
        (PEOPLE.replace("\t4", "\tfour"), "line 7: found 'four', expected a whole number"),
        (PEOPLE.replace("\t4", "\t999999"), "line 7: found 999999 images, expected at most 9999"),
    ],
)
def test_damaged_people(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "people.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        LFWPeople(tmp_path / "people.txt", tmp_path)


def test_images_that_are_none_or_come_twice_or_differ(tmp_path: Path, pairs: Path) -> None:
    good = images("lfw/")
    name = "lfw/Dee/Dee_0004.jpg"
    for data, message in [
        (b"GIF89a of something", "found 19 bytes that begin with 4749463839612"),
        (b"", "found 0 bytes that begin with nothing"),
        (good[name][:-40], "found image file is truncated"),
        (encode(picture(1, (8, 8))), "found 8x8 pixels .* expected 12x10 like the first image; give size="),
    ]:
        source = archive(tmp_path / "lfw.tar", {**good, name: data})
        with pytest.raises(ValueError, match=rf"lfw.tar: offset \d+: {name}: {message}"):
            LFWPairs(pairs, source)
    source = archive(tmp_path / "lfw.tar", {**good, "again/Dee/Dee_0004.jpg": good[name]})
    with pytest.raises(ValueError, match=f"found Dee/Dee_0004.jpg again after {name}, expected each image once"):
        LFWPairs(pairs, source)


def test_aligns_the_images_of_a_list(tmp_path: Path, pairs: Path) -> None:
    """A landmark file that shifts by (3, 2) must do to each image what numpy's slices do."""
    big = {file: encode(picture(i, (120, 118)), "PNG") for i, file in enumerate(FILES)}
    source = folder(tmp_path / "lfw", big)
    shifted = " ".join(f"{x:.4f}" for x in np.add(align.TEMPLATE, [3, 2]).ravel())
    lines = [f"{file} {shifted}\n" for file in FILES]
    (tmp_path / "landmarks.txt").write_text("".join(lines))
    faces = LFWPairs(pairs, source, landmarks=tmp_path / "landmarks.txt")
    assert faces.images.shape[1:] == (3, 112, 112)
    for file, image in zip(faces.files, faces.images.int().numpy(), strict=True):
        assert np.abs(image - decoded(big[file])[:, 2:114, 3:115]).max() <= 1
    (tmp_path / "landmarks.txt").write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match=r"landmarks.txt: found no line for Ann_Ax/Ann_Ax_0001.jpg"):
        LFWPairs(pairs, source, landmarks=tmp_path / "landmarks.txt")


@needs_real
def test_real_lfw() -> None:
    root = data_root()
    assert root is not None
    everyone = LFWPeople(root / "lfw/people_sets1-5.txt", root / "lfw/lfw_aligned112_sets1-5.tar")
    assert everyone.images.shape == (6165, 3, 112, 112)
    counts = everyone.labels.bincount()
    found = [len(counts), *(int((counts >= n).sum()) for n in (2, 10)), int((counts == 1).sum())]
    assert found == [2835, 801, 79, 2034]
    faces = LFWPairs(root / "lfw/pairs_folds1-5.txt", everyone)
    assert faces.pairs.shape == (3000, 2)
    assert faces.folds.bincount().tolist() == [600] * 5
    assert faces.same.view(5, 2, 300)[:, 0].all()
    assert not faces.same.view(5, 2, 300)[:, 1].any()
    sets = everyone.sets[faces.pairs]
    assert torch.equal(sets, faces.folds[:, None].expand(-1, 2))  # fold k shows people of set k
    for name, count in (("Train", 253), ("Test", 122)):
        dev = LFWPairs(root / f"lfw/pairsDev{name}_shared.txt", everyone)
        assert dev.same.tolist() == [True] * count + [False] * count
    # worse than any method, better than chance: the mean colours of 7 x 7 patches tell some people apart
    grey = torch.nn.functional.avg_pool2d(faces.images.float().mean(1, keepdim=True), 16).flatten(1)
    result = evaluate_pairs(grey - grey.mean(0), faces.pairs, faces.same, identities=faces.labels, folds=faces.folds)
    assert 0.56 < result.accuracy < 0.75


@needs_real
def test_alignment_is_near_the_aligned_set() -> None:
    """These crops were made outside this project, from the same photographs and landmarks, in Pillow's way.

    It counts from the corner of the picture and cuts fractions off: (1 - s) / 2 pixels beside ours along each axis, s
    being the scale of the similarity, and half a grey level darker.
    """
    root = data_root()
    assert root is not None
    points = align.read_landmarks(root / "lfw/lfw_landmark_sets1-5.txt")
    originals = {file.path[4:]: file for file in read_files(root / "lfw/lfw_orig250_60people.tar", is_jpeg)}
    crops = {
        file.path[15:]: decoded(file.data)
        for file in read_files(root / "lfw/lfw_aligned112_sets1-5.tar", lambda path: path[15:] in originals)
    }
    assert len(originals) == len(crops) == 108
    difference = []
    for name, file in originals.items():
        photograph = open_image(file.data, file.where)
        inverse = np.linalg.inv(np.vstack([align.similarity(points[name], align.TEMPLATE), [0, 0, 1]]))[:2]
        way = Image.Transform.AFFINE, tuple(inverse.ravel()), Image.Resampling.BICUBIC
        theirs = np.asarray(photograph.transform((112, 112), *way))
        assert np.array_equal(decoded(encode(theirs, quality=90)), crops[name])
        difference.append(np.asarray(align.align_image(photograph, points[name])) - theirs.astype(float))
    assert 0.4 < np.mean(difference) < 0.6
    assert np.abs(difference).mean() < 2


def is_jpeg(path: str) -> bool:
    return path.endswith(".jpg")


def test_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACELEARN_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.setenv("FACELEARN_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"FACELEARN_DATA: found '.*none', expected a folder"):
        data_root()
    monkeypatch.delenv("FACELEARN_DATA")
    assert data_root() is None
