"""Image files in a folder or a tar archive, and their pixels: what the readers of real sets share.

Archives are read as streams and never extracted, so a name in one can lead nowhere. Whatever is damaged or no image
raises `ValueError` with the file and where in it.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp")
MAX_PIXELS = 50_000_000  # a photograph; more in one file is a mistake or an attack
MAX_BYTES = 1 << 27  # of one encoded image
MAX_HEADER = 1 << 20  # of all that stands before one member of a tar archive
_HEADERS = (b"L", b"K", b"x", b"g", b"X")  # types of a member that says more about the next: GNU's, pax, Solaris'
Size = int | tuple[int, int] | None
_FORMATS = ("JPEG", "PNG", "PPM", "BMP")  # of Pillow's many decoders, those that sets of faces need


class File(NamedTuple):
    path: str  # inside the folder or archive, parts joined by "/"
    data: bytes
    where: str  # file, and offset in an archive, for messages


def data_root() -> Path | None:
    """The folder of real sets that the environment variable FACELEARN_DATA names, None where it is not set.

    For tests, scripts and chapters; nothing in the package reads it by itself. ValueError where it is no folder.
    """
    value = os.environ.get("FACELEARN_DATA", "")
    if not value:
        return None
    if not Path(value).is_dir():
        raise ValueError(f"FACELEARN_DATA: found {value!r}, expected a folder")
    return Path(value)


def read_files(source: str | os.PathLike[str], wanted: Callable[[str], bool]) -> Iterator[File]:
    """The files of a folder (sorted) or of a .tar, .tar.gz, .tgz, ... (in its order) whose path is `wanted`.

    Raises FileNotFoundError where `source` is not there, ValueError where it is no tar, damaged, or cut short.
    """
    source = Path(source)
    if not source.is_dir():
        return _read_tar(source, wanted)
    return _read_folder(source, wanted)


def _read_folder(root: Path, wanted: Callable[[str], bool]) -> Iterator[File]:
    for folder, inner, names in os.walk(root):
        inner.sort()
        for name in sorted(names):
            file = Path(folder, name)
            path = file.relative_to(root).as_posix()
            if wanted(path) and file.is_file():  # not a pipe, which would wait for someone to write
                if file.stat().st_size > MAX_BYTES:
                    raise ValueError(f"{file}: found {file.stat().st_size} bytes, expected at most {MAX_BYTES}")
                yield File(path, file.read_bytes(), str(file))


class _Member(tarfile.TarInfo):
    """What a header says, read with care: every error is a `tarfile.TarError`, and none takes much memory."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            member = super().fromtarfile(tar)
        except (ValueError, RecursionError) as error:  # of a field that is no number, of headers of headers
            raise tarfile.HeaderError(str(error)) from None
        if "\0" in member.name:
            raise tarfile.HeaderError(f"a name with a NUL: {member.name!r}")
        return member

    def _proc_member(self, tar: Any) -> tarfile.TarInfo:
        if self.size < 0 or self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.HeaderError("a sparse file" if self.size >= 0 else f"a size of {self.size} bytes")
        if self.type in _HEADERS and (size := tar.fileobj.tell() - tar.offset + self.size) > MAX_HEADER:
            raise tarfile.HeaderError(f"a header of {size} bytes")  # tarfile would read it whole
        return cast("tarfile.TarInfo", super()._proc_member(tar))  # type: ignore[misc]

    def _apply_pax_info(self, pax_headers: dict[str, str], *rest: str) -> None:
        super()._apply_pax_info(pax_headers, *rest)  # type: ignore[misc]
        if self.size < 0:  # it would lead back, to read the same for ever
            raise tarfile.HeaderError(f"a size of {self.size} bytes")

    def _proc_gnusparse_00(self, *_: object) -> None:
        raise tarfile.HeaderError("a sparse file")  # its map has no bound, and no image is one

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


def open_tar(source: Path) -> tarfile.TarFile:
    """A tar archive, compressed or not, whose headers cannot fill the memory: `tarfile.TarError` where they would."""
    return tarfile.open(source, tarinfo=_Member)


def _read_tar(source: Path, wanted: Callable[[str], bool]) -> Iterator[File]:
    offset = 0
    try:
        with open_tar(source) as tar:
            for member in tar:
                offset = member.offset_data
                if not member.isreg() or not wanted(member.name):
                    continue
                if member.size > MAX_BYTES:
                    raise tarfile.ReadError(f"{member.name} of {member.size} bytes")
                content = tar.extractfile(member)
                assert content is not None  # it is a regular file
                yield File(member.name, content.read(), f"{source}: offset {offset}: {member.name}")
            offset = tar.offset
            _check_end(tar)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, MemoryError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without a number it comes from gzip or bz2
            raise
        found = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise ValueError(f"{source}: offset {offset}: found {found}, expected a whole tar archive") from None


def _check_end(tar: tarfile.TarFile) -> None:
    """tarfile takes a damaged header, or the end of a file cut short, for the end of the archive."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("end of file" if len(block) < tarfile.BLOCKSIZE else "a damaged header")
    while tar.fileobj.read(1 << 20):  # to its end, where gzip compares its checksum
        pass


def decode(data: bytes, where: str, *, channels: int = 3, size: Size = None) -> Tensor:
    """An encoded image (JPEG, PNG, PGM/PPM, BMP) as uint8 `(channels, H, W)`, RGB or grey, upright as EXIF says.

    `size`: side, or (height, width), to which it is resized (Pillow's bilinear filter, which averages when it
    shrinks). ValueError, beginning with `where`, for anything that is not a whole image of 8 bits a channel.
    """
    return to_tensor(resize(open_image(data, where, channels=channels), size))


def open_image(data: bytes, where: str, *, channels: int = 3) -> Image.Image:
    """The decoded image in mode RGB or L, upright. See `decode`."""
    if channels not in (1, 3):
        raise ValueError(f"channels: found {channels}, expected 1 or 3")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS}")
            if (depth := _depth(image, data)) > 8:
                raise ValueError(f"{depth} bits a channel, more than 8")
            return upright(image).convert("RGB" if channels == 3 else "L")
    except Image.UnidentifiedImageError:
        found = f"{len(data)} bytes that begin with {data[:8].hex() or 'nothing'}"
    except Exception as error:  # decoders raise nearly everything for damaged data
        found = str(error) or type(error).__name__
    raise ValueError(f"{where}: found {found}, expected a whole image (JPEG, PNG, PGM, PPM or BMP)")


def _depth(image: Image.Image, data: bytes) -> int:
    """Bits a channel in the file. Of coloured images Pillow keeps 8 without a word."""
    if image.mode.startswith(("I", "F")):
        return 16
    if image.format == "PNG":
        return data[24]  # after 8 bytes of signature, 8 of the first chunk's head, width and height
    # tile: (decoder, extent, offset, args), a plain tuple before Pillow 11
    pixels = image.tile[0][3] if image.format == "PPM" else None  # type: ignore[attr-defined]
    return int(pixels[1]).bit_length() if isinstance(pixels, tuple) else 8  # the largest value, where it is not 255


def upright(image: Image.Image) -> Image.Image:
    """The image, turned as its EXIF orientation says: cameras store a portrait lying, and how they were held."""
    with contextlib.suppress(Exception):  # of a damaged note; whether the pixels are sound, their decoding says
        ImageOps.exif_transpose(image, in_place=True)
    return image


def resize(image: Image.Image, size: Size) -> Image.Image:
    if size is None:
        return image
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size: found {size}, expected at least 1 pixel")
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def to_tensor(image: Image.Image) -> Tensor:
    """A Pillow image of mode RGB or L as uint8 (C, H, W)."""
    pixels = torch.from_numpy(np.array(image))  # (H, W, 3) or (H, W)
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def check_size(image: Tensor, first: torch.Size, where: str) -> None:
    """ValueError, beginning with `where`, unless this image `(C, H, W)` has the size of the first."""
    if image.shape != first:
        found, expected = (f"{height}x{width}" for _, height, width in (image.shape, first))
        raise ValueError(
            f"{where}: found {found} pixels (height x width), expected {expected} like the first image; give size="
        )


def stack(images: Iterable[tuple[int, Tensor, str]], count: int, limit: int | None = None) -> Tensor:
    """uint8 `(count, C, H, W)` from (row, image `(C, H, W)`, where it comes from), each row once, in any order.

    ValueError where an image has another size than the first, where all would take more than `limit` bytes, or where
    there is none.
    """
    pixels: Tensor | None = None
    for row, image, where in images:
        if pixels is None:
            if limit is not None and count * image.numel() > limit:
                raise ValueError(f"{where}: found {count} x {image.numel()} bytes of pixels, expected at most {limit}")
            pixels = image.new_empty(count, *image.shape)
        check_size(image, pixels.shape[1:], where)
        pixels[row] = image
    if pixels is None:
        raise ValueError("images: found none, expected at least one")
    return pixels
