"""RecordIO, the form in which InsightFace ships MS1M, CASIA-WebFace, Glint360K: read, and written, without MXNet.

    >>> faces = RecordIO("faces_emore/train.rec")  # with train.idx beside it
    >>> image, label = faces[0]
    >>> fit(net, loss, faces, epochs=20, workers=8)

A `.rec` is a row of records, each `magic uint32, kind and length uint32, payload, zeros up to a multiple of 4`, all
little-endian; length has 29 bits, kind the upper 3. Kind 0 is a whole record. Where a payload holds the magic number
at a multiple of 4, it is cut there (the number itself left out) into kinds 1, 2, ..., 2, 3. A payload is
`flag uint32, label float32, id uint64, id2 uint64`, then `flag` more float32, which are then the labels, then an
encoded image. The `.idx` has lines `key offset`.

In InsightFace's files record 0 holds no image but two labels (a, b): images have keys 1 to a - 1, and keys a to b - 1
belong to identities, each with the range of its images as labels. im2rec's files have no such record.

Source: dmlc-core's recordio, MXNet's python/mxnet/recordio.py, InsightFace's face2rec2.py.
"""

from __future__ import annotations

import codecs
import os
import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from facelearn.data.files import Size, check_size, decode, stack
from facelearn.data.image_set import ImageSet, to_float
from facelearn.files import whole

PathLike = str | os.PathLike[str]
_MAGIC = struct.pack("<I", 0xCED7230A)
_HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2
_HEAD = np.dtype([("magic", "<u4"), ("length", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("ids", "<u8", 2),
                  ("first", "<f4")])  # fmt: skip  # first: of the labels, where flag > 0
_LENGTH = (1 << 29) - 1
_EXACT = 1 << 24  # float32 holds every whole number up to here


class Record(NamedTuple):
    """`labels` float32 `(1,)`, or `(flag,)` where flag > 0; `data`: the encoded image, nothing in a header record."""

    labels: NDArray[np.float32]
    data: bytes


class RecordIO(Dataset[tuple[Tensor, int]]):
    """The images of a RecordIO file by number; `set[i]` is `(float32 (3, H, W) in [-1, 1], int label)`.

    * `keys` int64 `(N,)`, rising: the key of each image; without `.idx`, its number in the order of the file
    * `labels` int64 `(N,)`: the first label of each; the first use reads the head of every record. Where the labels of
      the file leave gaps, as those of a part of a larger set do, and no file `property` beside it says how many classes
      there are, they are numbered anew, 0, 1, ..., and a warning says so
    * `num_classes`: from `property`, else the largest of `labels` plus 1; `names`: of each class, its label in the file

    rec: the `.rec`; idx: its index, by default the `.idx` beside it. Where there is none, the records are found by
    walking through the file, which takes a while for a large one. size: side or (height, width) to resize images to.

    Fit for the workers of a `DataLoader`, forked or spawned, and for threads.
    `close`, or leaving a `with` block, closes it; reading opens it again. `load()` gives the images as an `ImageSet`.
    ValueError, with file and offset, where one of the files is damaged, cut short or something else.
    """

    def __init__(self, rec: PathLike, idx: PathLike | None = None, *, size: Size = None) -> None:
        self.path, self.size = Path(rec), size
        self._file = _RecordFile(self.path)
        beside = self.path.with_suffix(".idx")
        if idx is None and not beside.is_file():
            self.keys, self._offsets = self._walked()
        else:
            self.keys, self._offsets = self._indexed(beside if idx is None else Path(idx))
        if len(self.keys) == 0:
            raise ValueError(f"{self.path}: offset 0: found no image, expected at least one")

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, where = self._image(index)
        check_size(image, self._first, where)
        return to_float(image), int(self.labels[index])

    @property
    def lengths(self) -> list[int]:
        """The bytes of the file, and where each image begins: one that was exchanged moves those behind it."""
        return [self._file.size, *self._offsets.tolist()]

    def record(self, index: int) -> Record:
        """Labels and encoded bytes of image `index`."""
        return _unpack(self._file.payload(int(self._offsets[index])), self._where(index))

    def load(self, indices: Iterable[int] | None = None) -> ImageSet:
        """These images (by default all) in memory as bytes. ValueError where they differ in size."""
        chosen = list(range(len(self)) if indices is None else indices)
        images = ((row, *self._image(index)) for row, index in enumerate(chosen))
        return ImageSet(stack(images, len(chosen)), self.labels[chosen])

    @cached_property
    def labels(self) -> Tensor:
        return self._numbered[0]

    @cached_property
    def names(self) -> list[str]:
        return self._numbered[1] or [str(label) for label in range(self.num_classes)]

    @cached_property
    def _numbered(self) -> tuple[Tensor, list[str] | None]:
        """The label of each image, and the names of the classes where they are numbered anew."""
        given = self._file.labels(self._offsets)
        people, labels = np.unique(given, return_inverse=True)
        if len(people) > people[-1] or self.path.with_name("property").is_file():
            return torch.from_numpy(given), None
        warnings.warn(
            f"{self.path}: found labels of {len(people)} people up to {people[-1]}, which leave gaps: they are numbered"
            f" 0 to {len(people) - 1}, in this order; RecordIO.names has the labels of the file",
            stacklevel=5,  # who asked for labels or names
        )
        return torch.from_numpy(labels.astype(np.int64)), [str(person) for person in people]

    @cached_property
    def _first(self) -> torch.Size:
        return self._image(0)[0].shape

    @cached_property
    def num_classes(self) -> int:
        path = self.path.with_name("property")
        if not path.is_file():
            return int(self.labels.max()) + 1
        text = path.read_text(encoding="utf-8-sig", errors="replace").strip()
        first = text.split(",")[0].strip()
        if not (first.isascii() and first.isdigit() and len(first) < 10 and int(first) > 0):
            raise ValueError(f"{path}: offset 0: found {text[:40]!r}, expected number of classes,height,width")
        if (highest := int(self.labels.max())) >= int(first):
            raise ValueError(f"{path}: found {first} classes, expected at least {highest + 1}: a label is {highest}")
        return int(first)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RecordIO:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _image(self, index: int) -> tuple[Tensor, str]:
        where = self._where(index)
        return decode(self.record(index).data, where, size=self.size), where

    def _where(self, index: int) -> str:
        return f"{self.path}: offset {int(self._offsets[index])}: record {int(self.keys[index])}"

    # ---- which records are images ------------------------------------------------------------------------

    def _walked(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        offsets = np.fromiter(self._file.walk(), np.int64)
        offsets = offsets[self._file.has_image(offsets)]
        return np.arange(len(offsets)), offsets

    def _indexed(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        keys, offsets = _read_index(path, self._file.size)
        last = int(offsets.max())
        if (end := self._file.end(last)) != self._file.size:  # cut short, found now and not after a day of training
            found = f"offset {last} as the last, whose record ends at {end}"
            raise ValueError(f"{path}: found {found}, expected an index of all {self._file.size} bytes of {self.path}")
        if keys[0] != 0 and not (whole := self._file.has_image(offsets)).all():
            key = keys[int(whole.argmin())]
            raise ValueError(f"{path}: found no key 0, but key {key} without an image, expected the key of the header")
        if keys[0] != 0 or self._file.has_image(offsets[:1])[0]:
            return keys, offsets
        where = f"{self.path}: offset {int(offsets[0])}: record 0"
        header = _unpack(self._file.payload(int(offsets[0])), where)
        end = _class(float(header.labels[0]), where)  # images have the keys 1 to end - 1
        if end >= _EXACT:  # Glint360K has 17 million images, and float32 has rounded their number
            near = (keys >= end - 2) & (keys < end + 2)
            end = int((keys[near] + 1)[self._file.has_image(offsets[near])].max(initial=end - 2))
        chosen = (keys >= 1) & (keys < end)
        if int(chosen.sum()) != end - 1 or end < 2:
            found = f"{int(chosen.sum())} keys from 1 to {end - 1}"
            raise ValueError(f"{path}: found {found}, expected all that the header at {where} announces")
        return keys[chosen], offsets[chosen]


class _RecordFile:
    """Records by their offset.

    Read with `pread`, which has no position that threads or forked processes could move for each other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._file: BinaryIO | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "_file": None}  # a spawned process opens it for itself

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        file, self._file = getattr(self, "_file", None), None
        if file is not None:
            file.close()

    def error(self, offset: int, found: str, expected: str) -> ValueError:
        return ValueError(f"{self.path}: offset {offset}: found {found}, expected {expected}")

    def read(self, offset: int, size: int, what: str) -> bytes:
        wanted = min(size, max(self.size - offset, 0))  # no more than there was, whatever a damaged length says
        if hasattr(os, "pread"):
            file = self._file = self._file or self.path.open("rb", buffering=0)
            data = os.pread(file.fileno(), wanted, offset)
        else:  # Windows
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read(wanted)
        if len(data) != size:
            raise self.error(offset + len(data), "end of file", f"{what} of {size} bytes from offset {offset}")
        return data

    def part(self, offset: int, first: bool) -> tuple[int, int]:
        """Kind and length of the part at this offset; `first`: of its record."""
        head = self.read(offset, 8, "the head of a record")
        if head[:4] != _MAGIC:
            raise self.error(offset, head[:4].hex(), f"the magic number {_MAGIC.hex()} of a record")
        (word,) = struct.unpack("<I", head[4:])
        kind, length = word >> 29, word & _LENGTH
        if kind not in ((0, 1) if first else (2, 3)):
            raise self.error(offset + 4, f"kind {kind}", "0 or 1 at the start of a record, 2 or 3 further on")
        if offset + 8 + _padded(length) > self.size:
            raise self.error(offset + 4, f"length {length}", f"at most the {self.size - offset - 8} bytes that follow")
        return kind, length

    def payload(self, offset: int) -> bytes:
        """The whole payload of the record at this offset."""
        parts: list[bytes] = []
        kind = 1
        while kind in (1, 2):
            kind, length = self.part(offset, first=not parts)
            parts.append(self.read(offset + 8, length, "a record"))
            offset += 8 + _padded(length)
        return _MAGIC.join(parts)

    def walk(self) -> Iterator[int]:
        """The offset of each record, in the order of the file."""
        offset = 0
        while offset < self.size:
            yield offset
            offset = self.end(offset)

    def end(self, offset: int) -> int:
        """Where the record at this offset ends."""
        kind, first = 1, True
        while kind in (1, 2):
            kind, length = self.part(offset, first)
            offset, first = offset + 8 + _padded(length), False
        return offset

    def heads(self, offsets: NDArray[np.int64]) -> NDArray[Any]:
        """The first bytes of these records as `_HEAD` (N,): millions in seconds. Bytes behind the file's end are 0."""
        if self.size == 0:
            raise self.error(0, "end of file", "a record")
        view = np.memmap(self.path, np.uint8, "r", shape=(self.size,))
        heads = np.empty((len(offsets), _HEAD.itemsize), np.uint8)
        for start in range(0, len(offsets), 1 << 16):
            where = offsets[start : start + (1 << 16), None] + np.arange(_HEAD.itemsize)  # (n, 36)
            heads[start : start + len(where)] = np.where(where < self.size, view[np.minimum(where, self.size - 1)], 0)
        return heads.view(_HEAD)[:, 0]

    def has_image(self, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) whether there is more than labels in each record."""
        heads = self.heads(offsets)
        whole = heads["length"] >> 29 == 0
        size = (heads["length"] & _LENGTH).astype(np.int64)
        return ~whole | (size > _HEADER.size + 4 * heads["flag"].astype(np.int64))

    def labels(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) the first label of each record."""
        heads = self.heads(offsets)
        labels = np.where(heads["flag"] > 0, heads["first"], heads["label"])
        size = heads["length"] & _LENGTH  # of a record in parts: of the first part
        good = (heads["magic"] == int.from_bytes(_MAGIC, "little")) & (heads["length"] >> 29 <= 1)
        good &= (size >= _HEADER.size + 4) & (labels >= 0) & (labels <= _EXACT) & (labels == np.floor(labels))
        for i in np.flatnonzero(~good).tolist():  # the odd ones by the slow way, which knows what is wrong with them
            where = f"{self.path}: offset {offsets[i]}"
            labels[i] = _class(float(_unpack(self.payload(int(offsets[i])), where).labels[0]), where)
        return labels.astype(np.int64)


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4


def _unpack(payload: bytes, where: str) -> Record:
    if len(payload) < _HEADER.size:
        raise ValueError(f"{where}: found {len(payload)} bytes, expected a header of {_HEADER.size}")
    flag, label, _, _ = _HEADER.unpack_from(payload)
    end = _HEADER.size + 4 * flag
    if end > len(payload):
        raise ValueError(f"{where}: found {flag} labels in {len(payload)} bytes, expected room for them")
    labels = np.frombuffer(payload, "<f4", flag, _HEADER.size) if flag else np.array([label], np.float32)
    return Record(labels, payload[end:])


def _class(label: float, where: str) -> int:
    if not (0 <= label < 2**31 and label == int(label)):
        raise ValueError(f"{where}: found label {label}, expected a whole number of at least 0")
    return int(label)


def _read_index(path: Path, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and offsets of an `.idx`, sorted by key."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of an empty file
            if file.read(3) != codecs.BOM_UTF8:
                file.seek(0)
            lines = np.loadtxt(file, np.int64, comments=None, ndmin=2)
    except (ValueError, OverflowError, UserWarning):
        raise _bad_index(path) from None
    if lines.shape[1] != 2:
        raise _bad_index(path)
    keys, offsets = lines[lines[:, 0].argsort(kind="stable")].T.copy()
    order = offsets.argsort(kind="stable")
    again = np.zeros(len(offsets), bool)
    again[order] = np.diff(offsets[order], prepend=-1) == 0
    for what, bad in (
        ("key below 0", keys < 0),
        ("key twice", np.diff(keys, prepend=-1) == 0),
        (f"offset outside a file of {size} bytes", (offsets < 0) | (offsets + 8 > size)),
        ("offset that is no multiple of 4", offsets % 4 != 0),
        ("offset twice", again),
    ):
        if bad.any():
            i = int(bad.argmax())
            found = f"key {keys[i]} with offset {offsets[i]}: {what}"
            raise ValueError(f"{path}: found {found}, expected the index of this file")
    return keys, offsets


def _bad_index(path: Path) -> ValueError:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            fields = line.split()
            if fields and (len(fields) != 2 or not all(field.isdigit() and len(field) < 19 for field in fields)):
                return ValueError(f"{path}: line {number}: found {line[:60]!r}, expected a key and an offset")
    return ValueError(f"{path}: found no line with a key and an offset, expected one for each record")


def write_recordio(
    rec: PathLike, items: Iterable[tuple[float | Sequence[float], bytes]], *, identities: bool = False
) -> None:
    """Write `.rec` and `.idx` from pairs (label or labels, encoded image), whole or not at all.

    identities: write InsightFace's layout: keys from 1, then a record for each identity with the range of its images,
    then record 0. The images of an identity must then stand together. Otherwise keys from 0, as im2rec does.
    """
    path = Path(rec)
    with whole(path.with_suffix(".rec")) as file, whole(path.with_suffix(".idx")) as index:

        def put(key: int, labels: float | Sequence[float], data: bytes) -> None:
            index.write(f"{key}\t{file.tell()}\n".encode())
            file.write(_record(key, labels, data))

        ranges: list[tuple[int, int]] = []
        seen: set[float] = set()
        last: float | None = None
        key = int(identities)
        for labels, data in items:
            first = float(labels if isinstance(labels, (int, float)) else labels[0])
            if identities and first != last and first in seen:
                raise ValueError(f"items: found label {first} again at key {key}, expected its images in a row")
            if first != last:
                ranges.append((key, key))
                seen.add(first)
            last = first
            put(key, labels, data)
            key += 1
            ranges[-1] = (ranges[-1][0], key)
        if identities:
            for number, images in enumerate(ranges):
                put(key + number, images, b"")
            put(0, (key, key + len(ranges)), b"")


def _record(key: int, labels: float | Sequence[float], data: bytes) -> bytes:
    if isinstance(labels, (int, float)):
        payload = _HEADER.pack(0, labels, key, 0) + data
    else:
        payload = _HEADER.pack(len(labels), 0, key, 0) + np.asarray(labels, "<f4").tobytes() + data
    if len(payload) > _LENGTH:
        raise ValueError(f"items: found {len(payload)} bytes in one record, expected at most {_LENGTH}")
    cuts = [i for i in range(0, len(payload) - 3, 4) if payload[i : i + 4] == _MAGIC]
    starts, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)]
    out = bytearray()
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        kind = 0 if not cuts else 1 if i == 0 else 3 if i == len(cuts) else 2
        out += _MAGIC + struct.pack("<I", kind << 29 | (end - start)) + payload[start:end]
        out += bytes(_padded(end - start) - (end - start))
    return bytes(out)
