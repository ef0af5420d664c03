"""InsightFace's verification sets, `lfw.bin`, `cfp_fp.bin`, `agedb_30.bin` and their like, without unpickling them.

    >>> faces = VerificationBin("agedb_30.bin")
    >>> evaluate_pairs(embed(net, faces), faces.pairs, faces.same, folds=faces.folds)

Such a file is a pickle of (encoded images, flags), two images and one flag for each pair. A pickle is a program that
may call anything, so that opening a stranger's runs the stranger's code. This module does not run it. It reads the
instructions with `pickletools` and follows by itself those few that these files need: numbers, strings, bytes, tuples,
lists, and, as names that are only compared and never looked up, numpy's arrays of bytes and flags. In all, no object
is made from a name in the file. Everything else is refused.

Source: InsightFace's src/data/dir2lfw.py and recognition/arcface_torch/eval/verification.py; CPython's pickletools.
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facelearn.data.files import Size, decode, stack
from facelearn.data.image_set import ImageSet

NUM_FOLDS = 10
_INSTRUCTIONS = 10_000  # of any file, and more of one with images: an image takes about 30, and hundreds of bytes
_GROWTH = 256  # bytes of pixels per byte of the file: ten times what any photograph needs
# Names in these files, as old and new numpy, Python 2 and 3 write them, and what each stands for.
_NAMES = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",  # bytes, in protocol 2
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "numpy.core.numeric _frombuffer": "frombuffer",  # arrays, in protocol 5
    "numpy._core.numeric _frombuffer": "frombuffer",
}
# numpy's types of flags: truth values, whole numbers, numbers with a fraction; encoded images are u1.
_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class VerificationBin(ImageSet):
    """The pairs of an InsightFace `.bin` and their images, in its order.

    * `images` uint8 `(2P, 3, H, W)`; `pairs` int64 `(P, 2)`: (0, 1), (2, 3), ...; `same` bool `(P,)`
    * `folds` int64 `(P,)`: ten equal blocks in the order of the file, as InsightFace evaluates them
    * `labels` int64 `(2P,)` only number the images: who is on them is not in the file, so that intervals over people
      cannot be had, and a person may be in several folds

    size: side or (height, width) to resize to. ValueError, with file and offset, for anything else than such a file;
    nothing in it is ever run.
    """

    def __init__(self, path: str | os.PathLike[str], *, size: Size = None) -> None:
        data = _read(Path(path))
        encoded, same = _contents(data, str(path))

        def images() -> Iterator[tuple[int, Tensor, str]]:
            for i, image in enumerate(encoded):
                where = f"{path}: offset {image.offset}: image {i}"
                yield i, decode(image.data, where, size=size), where

        super().__init__(stack(images(), len(encoded), limit=_GROWTH * len(data)), torch.arange(len(encoded)))
        count = len(same)
        self.pairs = torch.arange(2 * count).view(count, 2)  # (P, 2)
        self.same = torch.tensor(same)  # (P,)
        self.folds = torch.arange(count) * NUM_FOLDS // count  # (P,)


@dataclass(frozen=True)
class _Bytes:
    data: bytes
    offset: int  # of the instruction that holds them


@dataclass(frozen=True)
class _Name:
    """A name in the file: a word to compare with, nothing that could be called."""

    meaning: str


@dataclass
class _Type:
    code: str  # one of _TYPES
    order: str = "|"  # of its bytes, < or >; BUILD tells. Where there is one, |

    @property
    def size(self) -> int:
        return int(self.code[1:])

    @property
    def orders(self) -> tuple[str, ...]:
        return ("|",) if self.size == 1 else ("<", ">")


class _Array:
    """A numpy array of bytes or flags: empty, until BUILD fills it."""

    def __init__(self) -> None:
        self.content: tuple[_Type, tuple[int, ...], _Bytes] | None = None


def _read(path: Path) -> bytes:
    """The whole file, if it begins as one of these does: a foreign one may be larger than memory."""
    with path.open("rb") as file:
        head = file.read(2)
        if len(head) < 2 or head[0] != 0x80 or not 2 <= head[1] <= 5:
            found = head.hex() or "end of file"
            raise ValueError(f"{path}: offset 0: found {found}, expected 8002 to 8005, a pickle of protocol 2 to 5")
        return head + file.read()


def _contents(data: bytes, path: str) -> tuple[list[_Bytes], list[bool]]:
    """The encoded images and the flags in such a file."""
    machine = _Machine(len(data))
    offset = 0
    try:
        for opcode, argument, position in pickletools.genops(data):
            offset = position or 0
            machine.step(opcode.name, argument, offset)
        if offset + 1 != len(data):
            offset += 1
            raise ValueError(f"{len(data) - offset} bytes after the end")
        result = machine.pop()
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise ValueError(f"{_kind(result)} in place of (images, flags)")
        images, same = _images(result[0]), _flags(result[1])
        if len(images) != 2 * len(same) or not same:
            raise ValueError(
                f"{len(images)} images and {len(same)} flags in place of two images and a flag for each pair"
            )
    except ValueError as error:
        message = f"{path}: offset {offset}: found {error}, expected a file of images and flags as InsightFace makes it"
        raise ValueError(message) from None
    return images, same


class _Machine:
    """The stack, the marks on it, and the memo of the pickle machine, for the instructions that these files need."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.left = _INSTRUCTIONS + size // 8

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("an instruction that takes from an empty stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise ValueError("an instruction that needs a mark")
        mark = self.marks.pop()
        taken = self.stack[mark:]
        del self.stack[mark:]
        return taken

    def step(self, name: str, argument: Any, offset: int) -> None:
        """Follow one instruction; ValueError if it is none of those."""
        self.left -= 1
        if self.left < 0:
            raise ValueError("more instructions than such a file needs")
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINFLOAT":
                self.stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self.stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                self.stack.append(_Bytes(bytes(argument), offset))
            case "BINSTRING" | "SHORT_BINSTRING":  # bytes of Python 2
                self.stack.append(_Bytes(argument.encode("latin-1"), offset))
            case "MARK":
                self.marks.append(len(self.stack))
            case "EMPTY_LIST":
                self.stack.append([])
            case "APPEND" | "APPENDS":
                items = [self.pop()] if name == "APPEND" else self.pop_to_mark()
                target = self.pop()
                if not isinstance(target, list):
                    raise ValueError(f"{_kind(target)} in place of a list to append to")
                target.extend(items)
                self.stack.append(target)
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(reversed([self.pop() for _ in range(int(name[-1]))])))
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.peek()
            case "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise ValueError(f"memo {argument} before it is set")
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_name(argument))
            case "STACK_GLOBAL":
                attribute, module = self.pop(), self.pop()
                if not isinstance(attribute, str) or not isinstance(module, str):
                    raise ValueError("a name that is no text")
                self.stack.append(_name(f"{module} {attribute}"))
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(_call(function, arguments, offset))
            case "BUILD":
                state = self.pop()
                _build(self.peek(), state)
            case _:
                raise ValueError(f"instruction {name}")

    def peek(self) -> Any:
        top = self.pop()
        self.stack.append(top)
        return top


def _name(text: str) -> _Name:
    if text not in _NAMES:
        raise ValueError(f"the name {text[:80]!r}")
    return _Name(_NAMES[text])


def _call(function: Any, arguments: Any, offset: int) -> Any:
    """What the few calls in these files amount to."""
    meaning = function.meaning if isinstance(function, _Name) else None
    match meaning, arguments:
        case "array", (_Name("ndarray"), (0,), _Bytes(b"b")):
            return _Array()
        case "dtype", (code, 0, 1) if _text(code) in _TYPES:
            return _Type(_text(code))
        case "encode", (str(text), "latin1" | "latin-1"):
            return _Bytes(_latin1(text), offset)
        case "scalar", (_Type() as kind, _Bytes() as content):
            return _numbers(kind, content, "a number")[0]
        case "frombuffer", (_Bytes() as content, _Type() as kind, tuple(shape), "C" | "F"):
            array = _Array()
            array.content = kind, shape, content
            return array
    raise ValueError(f"a call of {meaning or _kind(function)} with other arguments than these files have")


def _build(target: Any, state: Any) -> None:
    """Fill what `_call` has made."""
    match target, state:
        case _Type(), (int(), byte_order, None, None, None, -1, -1, 0) if _text(byte_order) in target.orders:
            target.order = _text(byte_order)
            return
        case _Array(content=None), (1, tuple(shape), _Type() as kind, 0 | 1, _Bytes() as content):
            target.content = kind, shape, content
            return
    raise ValueError(f"a state for {_kind(target)} that is none of an array of bytes")


def _images(value: Any) -> list[_Bytes]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{_kind(value)} in place of a list of images")
    return [
        image if isinstance(image, _Bytes) else _row(image, ("u1",), f"image {i}")[1] for i, image in enumerate(value)
    ]


def _flags(value: Any) -> list[bool]:
    if isinstance(value, _Array):
        value = _numbers(*_row(value, _TYPES, "flags"), "flags")
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{_kind(value)} in place of a list of flags")
    for i, flag in enumerate(value):
        if not isinstance(flag, int | float) or flag not in (0, 1):
            raise ValueError(f"{flag if isinstance(flag, int | float) else _kind(flag)} in place of 0 or 1 as flag {i}")
    return [bool(flag) for flag in value]


def _row(value: Any, codes: tuple[str, ...], what: str) -> tuple[_Type, _Bytes]:
    """Type and bytes of an array that is one row, or one column."""
    if not isinstance(value, _Array) or value.content is None:
        raise ValueError(f"{_kind(value)} in place of {what}")
    kind, shape, content = value.content
    flat = all(type(side) is int for side in shape)  # before anything looks inside: tuples nest without end
    length, rest = divmod(len(content.data), kind.size)
    is_row = flat and len(shape) <= 2 and set(shape) <= {1, length} and length in shape and rest == 0
    if kind.code not in codes or not is_row:
        shown = str(shape)[:40] if flat else "that is none"
        found = f"{len(content.data)} bytes as {kind.code} of shape {shown}"
        raise ValueError(f"{found} in place of {what}, a row of {', '.join(codes)}")
    return kind, content


def _numbers(kind: _Type, content: _Bytes, what: str) -> list[bool | int | float]:
    if len(content.data) % kind.size or not content.data or kind.order not in kind.orders:
        raise ValueError(f"{len(content.data)} bytes as {kind.code} in place of {what}")
    return np.frombuffer(content.data, kind.order + kind.code).tolist()


def _text(value: Any) -> str:
    """Text, which Python 2 wrote as bytes."""
    if isinstance(value, _Bytes):
        return value.data.decode("latin-1")
    return value if isinstance(value, str) else ""


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("text beyond Latin-1 in place of bytes") from None


def _kind(value: Any) -> str:
    return type(value).__name__.strip("_").lower()
