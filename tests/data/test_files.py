"""Archives as streams, and the decoding of what is in them: what is damaged is said to be."""

import gzip
import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from facelearn.data import files
from facelearn.data.files import decode, read_files
from tests.data.make import archive, decoded, encode, folder, picture

FILES = {"a/1.jpg": b"one", "b/2.jpg": b"2" * 600, "c/3.txt": b"three", "a/4.jpg": b""}


def read(source: Path, suffix: str = "") -> dict[str, bytes]:
    return {file.path: file.data for file in read_files(source, lambda path: path.endswith(suffix))}


@pytest.mark.parametrize("kind", ["x.tar", "x.tgz", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_archives_and_folders_give_what_is_wanted(tmp_path: Path, kind: str) -> None:
    assert read(archive(tmp_path / kind, FILES)) == FILES
    assert read(tmp_path / kind, ".txt") == {"c/3.txt": b"three"}
    assert read(folder(tmp_path / "folder", FILES)) == FILES
    assert list(read(tmp_path / "folder")) == ["a/1.jpg", "a/4.jpg", "b/2.jpg", "c/3.txt"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"abc")
    (tmp_path / "b.jpg").symlink_to("nothing.jpg")
    (tmp_path / "c.jpg").mkdir()
    assert [file.path for file in read_files(tmp_path, lambda path: True)] == ["a.jpg"]


def test_offsets_are_those_of_the_data(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", FILES)
    content = path.read_bytes()
    for file in read_files(path, lambda _: True):
        offset = int(file.where.split("offset ")[1].split(":")[0])
        assert file.where == f"{path}: offset {offset}: {file.path}"
        assert content[offset : offset + len(file.data)] == file.data


def test_names_that_lead_out_of_the_archive_lead_nowhere(tmp_path: Path) -> None:
    """Nothing is extracted, so they are names like others; links and devices are passed over."""
    inside = tmp_path / "inside"
    inside.mkdir()
    names = ["../out.jpg", f"{tmp_path}/out.jpg", "a/../../out.jpg", "C:\\out.jpg", "\n.jpg"]
    path = archive(inside / "x.tar", dict.fromkeys(names, b"data"))
    with tarfile.open(path, "a") as tar:
        for kind, target in ((tarfile.SYMTYPE, "../out.jpg"), (tarfile.LNKTYPE, "../out.jpg"), (tarfile.DIRTYPE, "")):
            member = tarfile.TarInfo(f"link{kind!r}.jpg")
            member.type, member.linkname = kind, target
            tar.addfile(member)
    assert read(path) == dict.fromkeys(names, b"data")
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["x.tar"]


@pytest.mark.parametrize("kind", ["x.tar", "x.tgz", "x.tar.xz"])
def test_cut_short_anywhere(tmp_path: Path, kind: str) -> None:
    path = archive(tmp_path / kind, FILES)
    data = path.read_bytes()
    end = len(data) if kind != "x.tar" else len(data.rstrip(b"\0"))  # zeros behind the last file
    for size in {*range(0, end - 1, 13), *range(0, end - 1, 512), end - 1}:
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=rf"{kind}: offset \d+: found .* expected a whole tar archive"):
            read(path)


def test_a_damaged_header_is_no_end(tmp_path: Path) -> None:
    """Python's tarfile stops there without a word."""
    path = archive(tmp_path / "x.tar", FILES)
    data = bytearray(path.read_bytes())
    data[1024] ^= 1  # the name of the second member
    path.write_bytes(data)
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 1
    with pytest.raises(ValueError, match=r"x.tar: offset 1024: found a damaged header, expected a whole tar archive"):
        read(path)


def test_a_damaged_checksum_at_the_end_of_gzip(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tgz", FILES)
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x.tgz: offset \d+: found CRC check failed"):
        read(path)


def test_empty_foreign_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"")
    with pytest.raises(ValueError, match=r"x.tar: offset 0: found .*expected a whole tar archive"):
        read(tmp_path / "x.tar")
    for content in (encode(picture(1)), gzip.compress(b"no tar" * 1000), b"\0" * 300):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(ValueError, match=r"x.tar: offset \d+: found .*expected a whole tar archive"):
            read(tmp_path / "x.tar")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing.tar")
    assert read(archive(tmp_path / "none.tar", {})) == {}


def test_members_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.tar", FILES)
    monkeypatch.setattr(files, "MAX_BYTES", 599)
    with pytest.raises(ValueError, match=r"x.tar: offset 1536: found b/2.jpg of 600 bytes, expected a whole tar"):
        read(path)
    with pytest.raises(ValueError, match=r"2.jpg: found 600 bytes, expected at most 599"):
        read(folder(tmp_path / "folder", FILES))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Literal[1, 2]) -> None:
    """Python's tarfile reads them whole."""
    name = "a" * 300 + ".jpg"
    (tmp_path / "x.tar").write_bytes(tarfile.TarInfo(name).tobuf(form) + bytes(1024))
    assert read(tmp_path / "x.tar") == {name: b""}
    monkeypatch.setattr(files, "MAX_HEADER", 700)
    with pytest.raises(ValueError, match=r"x.tar: offset 0: found a header of \d+ bytes, expected a whole tar archive"):
        read(tmp_path / "x.tar")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_damage_to_an_archive(tmp_path: Path, data: st.DataObject) -> None:
    path = archive(tmp_path / data.draw(st.sampled_from(["x.tar", "x.tgz"])), FILES)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content), 3000) - 1))
        if not 124 <= place % 512 < 136:  # sizes are tested above
            content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    message = str(path)
    try:
        read(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message


# ---- pixels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "PPM", "BMP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_decodes_what_pillow_decodes(kind: str, channels: int) -> None:
    data = encode(picture(3, channels=channels), kind)
    image = decode(data, "here", channels=channels)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert np.array_equal(image.numpy(), decoded(data))


def test_grey_and_colour_and_palettes() -> None:
    colour = picture(3)
    grey = decode(encode(colour, "PNG"), "here", channels=1)[0].numpy()
    assert np.abs(grey - colour @ [0.299, 0.587, 0.114]).max() < 1  # ITU-R 601
    file = io.BytesIO()
    Image.fromarray(colour).quantize(200).save(file, "PNG")
    assert np.abs(decode(file.getvalue(), "here").numpy() - colour.transpose(2, 0, 1).astype(int)).mean() < 4


def test_an_image_is_turned_upright_as_exif_says() -> None:
    """All eight orientations, in the formats that have EXIF; a damaged note beside sound pixels counts for nothing."""
    pixels = picture(3, (12, 10))
    turns = {1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.transpose(1, 0, 2),
             6: np.rot90(pixels), 7: pixels[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(pixels, -1)}  # fmt: skip
    for orientation, stored in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(stored)).save(file, "PNG", exif=exif)
        assert np.array_equal(decode(file.getvalue(), "here").numpy(), pixels.transpose(2, 0, 1)), orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=b"Exif\0\0no note at all")
    assert np.array_equal(decode(file.getvalue(), "here").numpy(), decoded(encode(pixels)))


def ppm(kind: bytes, largest: int, values: list[int]) -> bytes:
    width = 2 if largest > 255 else 1
    data = b"".join(value.to_bytes(width, "big") for value in values)
    return kind + b" %d 1 %d\n" % (len(values) // (3 if kind == b"P6" else 1), largest) + data


def test_sixteen_bits_a_channel_are_refused_in_every_format() -> None:
    assert decode(ppm(b"P6", 255, [0, 7, 255]), "here").flatten().tolist() == [0, 7, 255]
    assert decode(ppm(b"P6", 15, [0, 5, 15]), "here").flatten().tolist() == [0, 85, 255]
    for data in (ppm(b"P6", 65535, [0, 300, 65535]), ppm(b"P6", 256, [0, 1, 256]), ppm(b"P5", 1023, [0, 9]),
                 png(2, 2, 16), png(2, 2, 16, colour=2), png(2, 2, 16, colour=6)):  # fmt: skip
        with pytest.raises(ValueError, match=r"^here: found \d+ bits a channel, more than 8, expected a whole image"):
            decode(data, "here")


def png(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG header that announces a size, and next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found 0 bytes that begin with nothing"),
        (b"%PDF-1.7 and so on", "found 18 bytes that begin with 255044462d312e37"),
        (
            encode(picture(1), "GIF"),
            r"found \d+ bytes that begin with 474946383761",
        ),  # whole, but not meant
        (encode(picture(1), "TIFF"), r"found \d+ bytes that begin with 49492a00"),
        (encode(picture(1, (51, 50)), "PNG"), "found 50 x 51 pixels, more than 2500"),
        (png(2, 2, 16), "found 16 bits a channel, more than 8"),
        (png(40, 40), "found image file is truncated"),
        (encode(picture(1))[:100], "found Truncated File Read"),
        (encode(picture(1), "PPM")[:-1], "found image file is truncated|not enough"),
        (encode(picture(1), "PNG")[:-30], "found"),
    ],
)
def test_what_is_no_whole_image(monkeypatch: pytest.MonkeyPatch, data: bytes, message: str) -> None:
    monkeypatch.setattr(files, "MAX_PIXELS", 2500)
    with pytest.raises(ValueError, match=rf"^x.tar: offset 7: ({message}).*expected a whole image \(JPEG, PNG"):
        decode(data, "x.tar: offset 7")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "PPM", "BMP"]), st.data())
@pytest.mark.filterwarnings("ignore")
def test_random_damage_to_an_image(kind: str, data: st.DataObject) -> None:
    content = bytearray(encode(picture(1), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    message = "here"
    try:
        decode(bytes(content), "here")
    except ValueError as error:
        message = str(error)
    assert message.startswith("here")
