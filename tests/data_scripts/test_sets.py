"""Every script as its users run it: on made-up sets served from this machine, and on the real files where they are."""

import gzip
import hashlib
import importlib
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from data_scripts import image_folder, insightface, lfw, mnist, orl
from data_scripts._fetch import File
from facelearn.data import MNIST, ORL, ImageFolder, LFWPairs, RecordIO, write_recordio
from tests.data_scripts.conftest import ROOT, Server, call, tree

REAL = Path(os.environ["FACELEARN_DATA"]) if os.environ.get("FACELEARN_DATA") else None
real = pytest.mark.skipif(REAL is None, reason="FACELEARN_DATA is not set: no real sets to take")
SCRIPTS = sorted(path.stem for path in (ROOT / "data_scripts").glob("[a-z]*.py"))


def picture(seed: int, size: int = 16, grey: bool = False) -> Image.Image:
    """Smooth random colours."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
    return image.convert("L") if grey else image


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    data = io.BytesIO()
    image.save(data, kind, quality=95)
    return data.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# ---- all scripts


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_teaches(name: str) -> None:
    module = importlib.import_module(f"data_scripts.{name}")
    status, out, err = call(module, "--help")
    assert (status, err) == (0, "")
    assert (module.__doc__ or "").strip() in out
    examples = re.findall(rf"^    python data_scripts/{name}\.py.*$", out, re.M)
    assert len(examples) >= 2
    options = out[out.index("\noptions:") :]
    for option in {o for example in examples for o in re.findall(r"--[a-z-]+", example.split("#")[0])}:
        assert re.search(rf"{option}\b", options), option
    assert re.search(r"[Tt]erms|consent|real person", out)
    page = (ROOT / "data_scripts" / "README.md").read_text(encoding="utf-8")
    assert page.count(f"{name}.py") >= 2  # in both languages


@pytest.mark.parametrize("name", SCRIPTS)
def test_starts_from_any_folder_and_wrong_options_are_told(name: str, tmp_path: Path) -> None:
    script = ROOT / "data_scripts" / f"{name}.py"
    done = subprocess.run([sys.executable, script, "--nonsense"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "1e300", "soon"])
def test_a_timeout_that_is_none(tmp_path: Path, value: str) -> None:
    for module in (mnist, orl, lfw):
        status, _, err = call(module, "--to", tmp_path / "out", "--timeout", value)
        assert (status, "argument --timeout: " in err, value in err) == (2, True, True)
    assert not (tmp_path / "out").exists()


def test_every_published_file_has_a_hash_and_several_addresses() -> None:
    for file in (*mnist.FILES, lfw.IMAGES, *lfw.LISTS):
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.known_hash or ""), file.name
        assert len(set(file.urls)) == len(file.urls) >= (1 if file.name.startswith("people") else 2)
        assert all(re.match(r"https?://[\w.-]+/", url) for url in file.urls)


def test_nothing_is_unpickled_run_or_extracted_unseen() -> None:
    banned = re.compile(r"pickle\.load|allow_pickle=True|(?<![\w.])(eval|exec)\(|extractall|verify=False|shell=True")
    for path in (ROOT / "data_scripts").glob("*.py"):
        assert banned.findall(path.read_text()) == [], path


# ---- MNIST


@real
@pytest.mark.parametrize("behaviour", ["folder", "drop", "redirect"])
def test_mnist_arrives_whole(server: Server, tmp_path: Path, behaviour: str) -> None:
    assert REAL is not None
    server.files = {path.name: path.read_bytes() for path in (REAL / "mnist").glob("*.gz")}
    source = REAL / "mnist" if behaviour == "folder" else server.url(behaviour)
    status, _, err = call(mnist, "--to", tmp_path / "mnist", "--from", source)
    assert (status, err) == (0, "")
    assert tree(tmp_path / "mnist") == server.files
    # the sums that torchvision publishes, torchvision/datasets/mnist.py
    assert {name: hashlib.md5(data).hexdigest() for name, data in server.files.items()} == {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    if behaviour == "folder":
        assert len(MNIST(tmp_path / "mnist", "test")) == 10000
        again = call(mnist, "--to", tmp_path / "mnist", "--from", tmp_path / "nowhere")
        assert (again[0], again[1].count("already there")) == (0, 4)


def test_mnist_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in mnist.HASHES:
        (tmp_path / name).write_bytes(gzip.compress(b"fashion"))
    status, _, err = call(mnist, "--to", tmp_path / "mnist", "--from", tmp_path)
    assert status == 1
    assert "no address gave train-images-idx3-ubyte.gz" in err
    assert tree(tmp_path / "mnist") == {}


# ---- ORL


def small_orl(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A made-up set, and the script told that this is the published one."""
    files = {f"s{p}/{i}.pgm": encoded(picture(10 * p + i, grey=True), "PPM") for p in (1, 2) for i in (1, 2, 10)}
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    monkeypatch.setattr(orl, "CONTENTS", hashlib.sha256("".join(lines).encode()).hexdigest())
    return files


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_orl_from_its_address(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small_orl(monkeypatch)
    server.files = {"a.zip": zipped({"README": b"read me", **{f"att_faces/{k}": v for k, v in files.items()}})}
    server.files["b.zip"] = zipped(dict(list(files.items())[:-1]))  # one image less
    addresses = (server.url("500", "a.zip"), server.url("ranges", "b.zip"), server.url("drop", "a.zip"))
    monkeypatch.setattr(orl, "ADDRESSES", addresses)
    status, out, err = call(orl, "--to", tmp_path)
    assert (status, err) == (0, "")
    assert "found 5 images that are not the published ones" in out
    assert tree(tmp_path) == {f"orl_faces/{name}": data for name, data in files.items()}
    asked = len(server.asked)
    assert call(orl, "--to", tmp_path)[:2] == (0, out[out.rindex("orl_faces: ") :].replace("unpacked", "already there"))
    assert len(server.asked) == asked


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "folder with a zip"])
def test_orl_from_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    files = small_orl(monkeypatch)
    source = tmp_path / "in"
    source.mkdir()
    if form == "folder":
        for name, data in files.items():
            (source / "deep" / name).parent.mkdir(parents=True, exist_ok=True)
            (source / "deep" / name).write_bytes(data)
    else:
        path = source / ("faces.tar" if form == "tar" else "faces.zip")
        path.write_bytes(packed(files) if form == "tar" else zipped(files))
        source = source if form == "folder with a zip" else path
    assert call(orl, "--to", tmp_path / "out", "--from", source)[0] == 0
    assert tree(tmp_path / "out") == {f"orl_faces/{name}": data for name, data in files.items()}


def test_orl_that_is_not_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = small_orl(monkeypatch)
    changed = {**files, "s1/1.pgm": files["s1/2.pgm"]}
    (tmp_path / "a.zip").write_bytes(zipped(changed))
    (tmp_path / "b.zip").write_bytes(zipped({**files, "../s1/1.pgm": b"x"}))
    status, out, err = call(
        orl, "--to", tmp_path / "out", "--from", tmp_path / "a.zip", "--from", tmp_path / "b.zip", "--from", "nowhere"
    )
    assert status == 1
    assert "no source holds the set" in err
    assert "expected names that stay inside the folder" in out
    assert tree(tmp_path / "out") == {}


@real
def test_orl_itself(tmp_path: Path) -> None:
    assert REAL is not None
    assert call(orl, "--to", tmp_path, "--from", REAL / "orl")[0] == 0
    faces = ORL(tmp_path / "orl_faces")
    assert torch.equal(faces.images, ORL(REAL / "orl" / "orl_faces.tar").images)
    assert len(faces) == 400


# ---- LFW


@pytest.fixture
def small_lfw(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A made-up LFW of two people on the server, and the script told that it is the published one."""
    names = ["Ann_A/Ann_A_0001.jpg", "Ann_A/Ann_A_0002.jpg", "Bob_B/Bob_B_0001.jpg", "Bob_B/Bob_B_0002.jpg"]
    images = {name: encoded(picture(i, 60)) for i, name in enumerate(names)}
    server.files["lfw.tgz"] = packed({f"lfw/{name}": data for name, data in images.items()})
    server.files["pairs.txt"] = b"1\t1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\t2\n"
    server.files["people.txt"] = b"1\n2\nAnn_A\t2\nBob_B\t2\n"

    def file(name: str, *behaviours: str) -> File:
        urls = tuple(server.url(behaviour, name) for behaviour in behaviours)
        return File(name, urls, sha(server.files[name]))

    monkeypatch.setattr(lfw, "IMAGES", file("lfw.tgz", "wrong", "drop"))
    monkeypatch.setattr(lfw, "LISTS", [file("pairs.txt", "ranges"), file("people.txt", "503", "plain")])
    monkeypatch.setattr(lfw, "COUNT", 4)
    monkeypatch.setattr(lfw, "PEOPLE", 2)
    return images


def landmarks(path: Path, names: list[str], scale: float = 1.0) -> Path:
    """The template itself, halved: a face that fills 56 of 60 pixels."""
    halved = (19.1, 25.8, 36.8, 25.8, 28, 35.9, 20.8, 46.2, 35.4, 46.1)
    points = " ".join(f"{scale * x:g}" for x in halved)
    path.write_text("".join(f"{name} {points}\n" for name in names))
    return path


def test_lfw_is_fetched_unpacked_and_aligned(
    server: Server, tmp_path: Path, small_lfw: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = landmarks(tmp_path / "points.txt", list(small_lfw))
    out = tmp_path / "lfw"
    status, text, err = call(lfw, "--to", out, "--landmarks", points)
    assert (status, err) == (0, ""), text
    assert tree(out / "lfw") == small_lfw
    assert (out / "pairs.txt").read_bytes() == server.files["pairs.txt"]
    pairs = LFWPairs(out / "pairs.txt", out / "aligned112")
    assert pairs.images.shape == (3, 3, 112, 112)
    direct = LFWPairs(out / "pairs.txt", out / "lfw", landmarks=points)
    assert (pairs.images.float() - direct.images.float()).abs().mean() < 2  # what JPEG leaves
    asked, before = len(server.asked), tree(out)
    status, text, err = call(lfw, "--to", out, "--landmarks", points)
    assert (status, err, text.count("already there")) == (0, "", 4)
    assert (len(server.asked), tree(out)) == (asked, before)


def test_lfw_without_one_list_does_the_rest_and_says_so(
    server: Server, tmp_path: Path, small_lfw: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lfw, "LISTS", [lfw.LISTS[0], File("people.txt", (server.url("404", "people.txt"),), "md5:0")])
    status, out, err = call(lfw, "--to", tmp_path)
    assert status == 1
    assert "the server says 404" in out
    assert "all the rest is done, but no address gave people.txt" in err
    assert set(tree(tmp_path)) == {"lfw.tgz", "pairs.txt", *(f"lfw/{name}" for name in small_lfw)}


def test_lfw_only_lists_and_only_images(server: Server, tmp_path: Path, small_lfw: dict[str, bytes]) -> None:
    assert call(lfw, "--to", tmp_path / "a", "--only", "lists")[0] == 0
    assert set(tree(tmp_path / "a")) == {"pairs.txt", "people.txt"}
    assert call(lfw, "--to", tmp_path / "b", "--only", "images")[0] == 0
    assert set(tree(tmp_path / "b")) == {"lfw.tgz", *(f"lfw/{name}" for name in small_lfw)}


def test_lfw_with_images_missing_is_not_unpacked(
    server: Server, tmp_path: Path, small_lfw: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lfw, "COUNT", 5)
    status, _, err = call(lfw, "--to", tmp_path, "--only", "images")
    assert status == 1
    assert "found 4 images of 2 people, expected 5 of 2" in err
    assert set(tree(tmp_path)) == {"lfw.tgz"}


@pytest.mark.parametrize("trouble", ["no landmarks for one", "no image", "damaged image", "no landmarks file"])
def test_lfw_alignment_that_fails_leaves_nothing(tmp_path: Path, small_lfw: dict[str, bytes], trouble: str) -> None:
    source, names = tmp_path / "in", list(small_lfw)
    for name, data in small_lfw.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    points = landmarks(tmp_path / "points.txt", names[:-1] if trouble == "no landmarks for one" else names)
    if trouble == "no image":
        source = tmp_path / "empty"
        source.mkdir()
    elif trouble == "damaged image":
        (source / names[1]).write_bytes(small_lfw[names[1]][:200])
    elif trouble == "no landmarks file":
        points = tmp_path / "missing.txt"
    status, _, err = call(lfw, "--to", tmp_path / "out", "--landmarks", points, "--images", source)
    assert status == 1
    expected = {"no landmarks for one": names[-1], "no image": "expected at least one", "damaged image": names[1]}
    assert expected.get(trouble, "missing.txt") in err
    assert "Traceback" not in err
    assert tree(tmp_path / "out") == {}


def test_lfw_alignment_writes_nowhere_else(tmp_path: Path) -> None:
    """Archive and landmarks both from a stranger, who agree on a name that leads out."""
    (tmp_path / "in.tgz").write_bytes(packed({"a/../out.jpg": encoded(picture(0, 60))}))
    points = landmarks(tmp_path / "points.txt", ["../out.jpg"])
    status, _, err = call(lfw, "--to", tmp_path / "out", "--landmarks", points, "--images", tmp_path / "in.tgz")
    assert (status, "expected names that stay inside" in err) == (1, True)
    assert not list(tmp_path.rglob("out.jpg"))


def test_lfw_aligned_from_something_else_is_not_complete(
    server: Server, tmp_path: Path, small_lfw: dict[str, bytes]
) -> None:
    points = landmarks(tmp_path / "points.txt", list(small_lfw))
    (tmp_path / "in.tgz").write_bytes(server.files["lfw.tgz"])
    (tmp_path / "empty").mkdir()
    options = ("--to", tmp_path / "out", "--landmarks", points, "--images")
    assert call(lfw, *options, tmp_path / "in.tgz")[0] == 0
    assert "already there" in call(lfw, *options, tmp_path / "in.tgz")[1]
    other = landmarks(tmp_path / "other.txt", list(small_lfw)[:1])
    for case in ((points, tmp_path / "empty"), (other, tmp_path / "in.tgz")):
        status, out, err = call(lfw, "--to", tmp_path / "out", "--landmarks", case[0], "--images", case[1])
        assert (status, "expected what" in err, "Complete" in out) == (1, True, False)
        assert "aligned112: found 4 images" in err
    next((tmp_path / "out" / "aligned112").glob("*/*.jpg")).write_bytes(b"")
    status, _, err = call(lfw, *options, tmp_path / "in.tgz")
    assert (status, "aligned112: found 3 images" in err) == (1, True)
    (tmp_path / "out" / "aligned112" / "aligned.json").unlink()
    status, _, err = call(lfw, *options, tmp_path / "in.tgz")
    assert (status, "and no aligned.json" in err) == (1, True)


def test_lfw_of_empty_files_is_not_there(tmp_path: Path, small_lfw: dict[str, bytes]) -> None:
    for name in small_lfw:
        (tmp_path / "lfw" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lfw" / name).write_bytes(b"")
    status, out, err = call(lfw, "--to", tmp_path, "--only", "images")
    assert (status, "is there already, but is not complete" in err, "already" in out) == (1, True, False)


@real
def test_lfw_alignment_repeats_the_aligned_set(tmp_path: Path) -> None:
    """Crops made outside this project, from the same photographs and landmarks, and stored as JPEG of quality 90."""
    assert REAL is not None
    points, originals = REAL / "lfw" / "lfw_landmark_sets1-5.txt", REAL / "lfw" / "lfw_orig250_60people.tar"
    assert call(lfw, "--to", tmp_path, "--landmarks", points, "--images", originals)[0] == 0
    files = sorted((tmp_path / "aligned112").glob("*/*.jpg"))
    assert len({file.parent for file in files}) == 60
    with tarfile.open(REAL / "lfw" / "lfw_aligned112_sets1-5.tar") as tar:
        for file in files:
            member = tar.extractfile(f"lfw_aligned112/{file.parent.name}/{file.name}")
            assert member is not None
            given = np.asarray(Image.open(member)).astype(float)
            ours = np.asarray(Image.open(file)).astype(float)
            difference = np.abs(ours - given).mean()
            assert difference < 4
            assert difference < 0.6 * np.abs(ours[:, 1:] - given[:, :-1]).mean()  # one pixel off would be worse


# ---- InsightFace


@pytest.fixture
def recordio(tmp_path: Path) -> Path:
    """Three people, 3, 1 and 2 images, in InsightFace's own layout."""
    images = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (2, 6)]
    folder = tmp_path / "faces_small"
    folder.mkdir()
    write_recordio(folder / "train.rec", [(label, encoded(picture(i, 20))) for label, i in images], identities=True)
    return folder


def verification_bin(path: Path, pairs: int) -> Path:
    images = [np.frombuffer(encoded(picture(i, 20)), np.uint8) for i in range(2 * pairs)]
    path.write_bytes(pickle.dumps((images, [i % 2 == 0 for i in range(pairs)]), protocol=2))
    return path


def test_insightface_without_arguments_says_where_and_under_which_terms() -> None:
    status, out, _ = call(insightface)
    assert status == 0
    for word in (
        "MS1M",
        "CASIA-WebFace",
        "Glint360K",
        "non-commercial",
        "github.com/deepinsight/insightface",
        "--check",
    ):
        assert word in out
    assert max(map(len, out.splitlines())) <= 120


def test_insightface_check(recordio: Path) -> None:
    verification_bin(recordio / "lfw.bin", 4)
    status, out, err = call(insightface, "--check", recordio)
    assert (status, err) == (0, "")
    assert "lfw.bin: 4 pairs, 2 of one person and 2 of two; 20 x 20" in out
    assert "train.rec: 6 images of 3 people (1 to 3 each); decoded 6, 20 x 20" in out


def test_insightface_check_names_every_damaged_file(recordio: Path) -> None:
    verification_bin(recordio / "lfw.bin", 4)
    verification_bin(recordio / "cut.bin", 4).write_bytes((recordio / "lfw.bin").read_bytes()[:-100])
    (recordio / "other.bin").write_bytes(pickle.dumps(({1: 2}, range(3))))
    data = bytearray((recordio / "train.rec").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (recordio / "train.rec").write_bytes(data)
    status, out, err = call(insightface, "--check", recordio)
    assert status == 1
    assert "3 of 4 files cannot be used: cut.bin, other.bin, train.rec" in err
    assert out.count("DAMAGED") == 3
    assert "offset" in out


def test_insightface_extract(recordio: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call(insightface, "--extract", recordio, "--to", out)[0] == 0
    faces = ImageFolder(out / "images").load()
    records = RecordIO(recordio / "train.rec")
    assert torch.equal(faces.images, records.load().images)
    assert torch.equal(faces.labels, records.labels)
    files = sorted((out / "images").glob("*/*.jpg"))
    assert [file.read_bytes() for file in files] == [records.record(i).data for i in range(6)]
    # a person gone, an image of another length, one of other bytes; the good ones are left alone
    shutil.rmtree(files[3].parent)
    files[0].unlink()
    files[1].write_bytes(b"half")
    files[4].write_bytes(bytes(len(records.record(4).data)))
    before = files[2].stat().st_mtime_ns
    expected = {str(f.relative_to(out / "images")): records.record(i).data for i, f in enumerate(files)}
    assert "3 people, 2 were there already" in call(insightface, "--extract", recordio, "--to", out)[1]
    assert tree(out / "images") == expected
    assert files[2].stat().st_mtime_ns == before
    assert "already there" in call(insightface, "--extract", recordio, "--to", out)[1]
    write_recordio(recordio / "train.rec", [(0, encoded(picture(0)))])
    status, _, err = call(insightface, "--extract", recordio, "--to", out)
    assert (status, "holds the images of another file" in err) == (1, True)
    (out / "extracted.json").write_text("")
    status, _, err = call(insightface, "--extract", recordio, "--to", out)
    assert (status, "extracted.json: found" in err) == (1, True)
    (out / "extracted.json").unlink()  # of which file are they?
    status, _, err = call(insightface, "--extract", recordio, "--to", out)
    assert (status, "found no extracted.json" in err) == (1, True)
    assert tree(out / "images") == expected


def test_insightface_extract_interrupted_says_of_which_file(
    recordio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(3))
    suffix = insightface.suffix
    monkeypatch.setattr(insightface, "suffix", lambda *rest: suffix(*rest) if next(count, 3) < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        insightface.extract(recordio / "train.rec", tmp_path / "out")
    monkeypatch.undo()
    write_recordio(tmp_path / "other.rec", [(0, encoded(picture(0)))])
    before = tree(tmp_path / "out")
    status, _, err = call(insightface, "--extract", tmp_path / "other.rec", "--to", tmp_path / "out")
    assert (status, "holds the images of another file" in err) == (1, True)
    assert tree(tmp_path / "out") == before
    (tmp_path / "out" / "images" / "0" / "stray.jpg").write_bytes(b"")
    status, _, err = call(insightface, "--extract", recordio, "--to", tmp_path / "out")
    assert (status, "found 7 files, expected 6" in err) == (1, True)


@pytest.mark.parametrize("largest", [2_000_000_000, 2])
def test_insightface_check_tells_labels_that_leave_gaps(tmp_path: Path, largest: int) -> None:
    write_recordio(tmp_path / "train.rec", [(largest, encoded(picture(0))), (0, encoded(picture(1)))])
    status, out, _ = call(insightface, "--check", tmp_path / "train.rec")
    assert status == 0
    assert "2 images of 2 people (1 to 1 each" in out
    assert f"labels up to {largest} with gaps, numbered anew by RecordIO" in out
    assert call(insightface, "--extract", tmp_path / "train.rec", "--to", tmp_path / "out")[0] == 0
    folders = {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert folders == {str(largest), "0".rjust(len(str(largest)), "0")}
    if largest == 2:
        (tmp_path / "property").write_text("4,16,16")
        status, out, _ = call(insightface, "--check", tmp_path / "train.rec")
        assert (status, "2 images of 2 people (1 to 1 each, 2 of 4 classes without any)" in out) == (0, True)


def test_insightface_where_there_is_nothing(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "found no .rec or .bin file"), (tmp_path / "no", "no such file or folder")):
        status, _, err = call(insightface, "--check", path)
        assert (status, message in err) == (1, True)


@real
def test_insightface_samples(tmp_path: Path) -> None:
    assert REAL is not None
    samples = REAL / "format_samples"
    status, out, err = call(insightface, "--check", samples, "--all")
    assert (status, err) == (0, "")
    assert "insightface_small_lfw.bin: 10 pairs, 10 of one person and 0 of two; 112 x 112" in out
    assert "train.rec: 8 images of 2 people (4 to 4 each)" in out
    assert call(insightface, "--extract", samples, "--to", tmp_path)[0] == 0
    listed = dict(line.split("\t")[:2] for line in (samples / "train.lst").read_text().splitlines())
    found = {str(int(p.stem)): str(float(p.parent.name)) for p in (tmp_path / "images").glob("*/*.jpg")}
    assert found == {key: str(float(label)) for key, label in listed.items()}


# ---- a folder of images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    files = {f"ann/{i}.jpg": encoded(picture(i, 30)) for i in range(3)} | {"bob/0.png": encoded(picture(9, 20), "PNG")}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_image_folder_that_is_in_order(photos: Path) -> None:
    before = tree(photos)
    status, out, err = call(image_folder, photos)
    assert (status, err) == (0, "")
    assert "4 images of 2 people" in out
    assert "images per person: 1 to 3, median 2, 1 with one" in out
    assert "sizes: 30 x 30 (3), 20 x 20 (1)" in out
    assert tree(photos) == before


def test_image_folder_names_all_that_is_wrong(photos: Path, tmp_path: Path) -> None:
    (photos / "ann" / "cut.jpg").write_bytes((photos / "ann" / "0.jpg").read_bytes()[:300])
    (photos / "ann" / "text.jpg").write_text("not an image")
    (photos / "ann" / "notes.txt").write_text("")
    (photos / "bob" / "copy.jpg").write_bytes((photos / "ann" / "1.jpg").read_bytes())
    (photos / "cut").mkdir()
    (photos / "loose.jpg").write_bytes(b"")
    (photos / "ann" / "link.jpg").symlink_to(photos / "ann" / "0.jpg")
    (photos / ".hidden").mkdir()
    status, out, err = call(image_folder, photos)
    assert (status, "some images cannot be read" in err) == (1, True)
    assert "5 images of 2 people" in out
    assert "cannot be read: 2\n  ann/cut.jpg: found" in out
    assert "not in the folder of a person: 3\n  ann/link.jpg\n  ann/notes.txt\n  loose.jpg" in out
    assert "people without an image: 1\n  cut" in out
    assert "there twice: 1\n  ann/1.jpg and bob/copy.jpg" in out


def test_image_folder_prepared_by_size(photos: Path, tmp_path: Path) -> None:
    wide = Image.new("RGB", (60, 20), (0, 0, 255))
    wide.paste((255, 0, 0), (20, 0, 40, 20))  # the middle square is red
    (photos / "ann" / "wide.png").write_bytes(encoded(wide, "PNG"))
    (photos / "ann" / "bad.jpg").write_bytes(b"bad")
    status, out, err = call(image_folder, photos, "--to", tmp_path / "out", "--size", 8)
    assert (status, err) == (0, "")
    assert "cannot be read: 1" in out
    faces = ImageFolder(tmp_path / "out" / "images")
    assert faces.files == ["ann/0.png", "ann/1.png", "ann/2.png", "ann/wide.png", "bob/0.png"]
    assert faces.load().images.shape == (5, 3, 8, 8)
    red = faces.load([3]).images[0].permute(1, 2, 0)
    assert (red == torch.tensor([255, 0, 0])).all()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "images").glob("*/*")}
    (tmp_path / "out" / "images" / "ann" / "0.png").unlink()
    status, out, _ = call(image_folder, photos, "--to", tmp_path / "out", "--size", 8)
    assert "5 images of 2 people, 4 were there already" in out
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "images").glob("*/*")}
    assert sum(before[p] == after[p] for p in before) == 4
    status, _, err = call(image_folder, photos, "--to", tmp_path / "out", "--size", 9)
    assert (status, "made in another way" in err) == (1, True)


def test_image_folder_follows_its_source(photos: Path, tmp_path: Path) -> None:
    options = (photos, "--to", tmp_path / "out", "--size", 8)
    assert call(image_folder, *options)[0] == 0
    (photos / "ann" / "0.jpg").write_bytes(encoded(Image.new("RGB", (30, 30), (0, 255, 0))))
    shutil.rmtree(photos / "bob")
    status, out, _ = call(image_folder, *options)
    assert status == 0
    assert "3 images of 1 people, 2 were there already, 1 that the source no longer has removed" in out
    faces = ImageFolder(tmp_path / "out" / "images")
    assert (faces.names, faces.files) == (["ann"], ["ann/0.png", "ann/1.png", "ann/2.png"])
    assert int(faces.load([0]).images[0, 0].max()) < 9 < 200 < int(faces.load([0]).images[0, 1].min())  # green
    mark = tmp_path / "out" / "prepared.json"
    mark.write_text("{")
    status, _, err = call(image_folder, *options)
    assert (status, "prepared.json: found" in err) == (1, True)
    mark.unlink()
    before = tree(tmp_path / "out")
    status, _, err = call(image_folder, *options)
    assert (status, "found no prepared.json" in err) == (1, True)
    status, _, err = call(image_folder, tmp_path / "out" / "images", *options[1:])
    assert (status, "writes to, expected another one" in err) == (1, True)
    assert tree(tmp_path / "out") == before


def test_image_folder_follows_exif_and_leaves_out_small_classes(photos: Path, tmp_path: Path) -> None:
    turned = Image.new("RGB", (20, 20), (0, 0, 0))
    turned.paste((255, 255, 255), (0, 0, 20, 10))  # white above
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was held upside down
    turned.save(photos / "ann" / "turned.png", exif=exif)
    assert call(image_folder, photos, "--to", tmp_path / "out", "--size", 20, "--least", 2)[0] == 0
    faces = ImageFolder(tmp_path / "out" / "images")
    assert faces.names == ["ann"]
    image = faces.load().images[faces.files.index("ann/turned.png")]
    assert int(image[:, :10].max()) == 0  # white is below now
    assert int(image[:, 10:].min()) == 255


def test_image_folder_aligned(photos: Path, tmp_path: Path) -> None:
    names = ["ann/0.jpg", "ann/1.jpg", "ann/2.jpg", "bob/0.png"]
    points = landmarks(tmp_path / "points.txt", names, 0.4)
    assert call(image_folder, photos, "--to", tmp_path / "out", "--landmarks", points)[0] == 0
    assert ImageFolder(tmp_path / "out" / "images").load().images.shape == (4, 3, 112, 112)
    landmarks(points, names[1:], 0.4)
    status, _, err = call(image_folder, photos, "--to", tmp_path / "other", "--landmarks", points)
    assert (status, "found no line for ann/0.jpg (1 are missing)" in err) == (1, True)
    assert not (tmp_path / "other").exists()
    landmarks(points, names)  # 46 of 20 pixels
    status, _, err = call(image_folder, photos, "--to", tmp_path / "other", "--landmarks", points)
    assert (status, "points.txt: ann/0.jpg: found landmarks at x 19 to 37, y 26 to 46, expected them" in err) == (
        1,
        True,
    )


def test_image_folder_that_would_overwrite_itself(photos: Path, tmp_path: Path) -> None:
    (photos / "ann" / "0.png").write_bytes(encoded(picture(77), "PNG"))
    status, _, err = call(image_folder, photos, "--to", tmp_path / "out", "--size", 8)
    assert (status, "ann/0.png under several endings" in err) == (1, True)


@pytest.mark.parametrize(
    "options",
    [("--size", 8, "--landmarks", "x", "--to", "y"), ("--to", "y"), ("--size", 0), ("--size", "big")],
)
def test_image_folder_options_that_contradict(photos: Path, options: tuple[object, ...]) -> None:
    assert call(image_folder, photos, *options)[0] == 2


def test_image_folder_where_there_is_none(tmp_path: Path) -> None:
    for module, folder, message in ((image_folder, tmp_path, "found nothing to use"), (image_folder, "no", "no such")):
        assert isinstance(module, ModuleType)
        status, _, err = call(module, folder)
        assert (status, message in err) == (1, True)
