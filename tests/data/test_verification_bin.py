"""Verification sets that are pickles: whole ones of every age, damaged ones, and ones that want to run something."""

import contextlib
import copyreg
import functools
import importlib
import io
import os
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from facelearn.data import VerificationBin
from facelearn.verification import evaluate_pairs
from tests.data.make import decoded, encode, picture

REAL = os.environ.get("FACELEARN_DATA")
IMAGES = [encode(picture(i)) for i in range(6)]
FLAGS = [True, False, True]


def arrays(column: bool = False) -> list[np.ndarray]:
    rows = [np.frombuffer(image, np.uint8) for image in IMAGES]
    return [row[:, None].copy() for row in rows] if column else rows


def python2() -> bytes:
    """What Python 2 writes for (list of str, list of bool); protocol 2, from its documentation."""
    images = b"".join(
        b"T" + struct.pack("<I", len(image)) + image + b"q" + bytes([i]) for i, image in enumerate(IMAGES)
    )
    return b"\x80\x02](" + images + b"e]q\x20(\x88\x89\x88e\x86q\x21."


def python2_numpy() -> bytes:
    """The same with numpy arrays: names and strings as bytes, long numbers."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    out = b"\x80\x02]("
    for image in IMAGES:
        shape = b"\x8a\x02" + struct.pack("<H", len(image)) + b"\x85"
        content = b"T" + struct.pack("<I", len(image)) + image
        out += b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        out += b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"
    return out + b"e](\x88\x89\x88e\x86."


def dumps(value: Any, protocol: int, old_numpy: bool = False) -> bytes:
    data = pickle.dumps(value, protocol)
    return data.replace(b"numpy._core", b"numpy.core") if old_numpy else data


WHOLE: dict[str, bytes] = {
    **{f"bytes, protocol {p}": dumps((IMAGES, FLAGS), p) for p in (2, 3, 4, 5)},
    **{f"arrays, protocol {p}": dumps((arrays(), FLAGS), p) for p in (2, 3, 4, 5)},
    **{f"arrays, protocol {p}, old numpy": dumps((arrays(), FLAGS), p, True) for p in (2, 3)},
    "columns": dumps((arrays(column=True), FLAGS), 3),
    "writable arrays": dumps(([array.copy() for array in arrays()], FLAGS), 5),
    "bytearrays": dumps(([bytearray(image) for image in IMAGES], FLAGS), 5),
    "array of flags": dumps((IMAGES, np.array(FLAGS)), 4),
    "array of numbers": dumps((IMAGES, np.array(FLAGS, np.uint8)), 2),
    "numpy's flags": dumps((arrays(), list(np.array(FLAGS))), 3, True),
    "numbers": dumps([IMAGES, [1, 0, 1]], 4),
    "tuples": dumps((tuple(IMAGES), tuple(FLAGS)), 4),
    "Python 2": python2(),
    "Python 2 with numpy": python2_numpy(),
}


def save(folder: Path, data: bytes) -> Path:
    (folder / "set.bin").write_bytes(data)
    return folder / "set.bin"


@pytest.mark.parametrize("form", WHOLE)
def test_whole_files_of_every_age(tmp_path: Path, form: str) -> None:
    trusted = pickle.loads(WHOLE[form], encoding="bytes")  # made here; so the fixture is what it says
    assert [
        bytes(np.asarray(image).tobytes() if isinstance(image, np.ndarray) else image) for image in trusted[0]
    ] == IMAGES
    assert [bool(flag) for flag in trusted[1]] == FLAGS
    faces = VerificationBin(save(tmp_path, WHOLE[form]))
    assert faces.images.shape == (6, 3, 12, 10)
    for image, data in zip(faces.images, IMAGES, strict=True):
        assert np.array_equal(image.numpy(), decoded(data))
    assert faces.pairs.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert faces.same.tolist() == FLAGS
    assert faces.same.dtype == torch.bool


def test_folds_size_and_evaluation(tmp_path: Path) -> None:
    count = 600  # lists of more than a thousand are pickled in portions
    same = [i % 2 == 0 for i in range(count)]
    greys = [p % 40 + other * (0 if same[p] else 100) for p in range(count) for other in (0, 1)]
    images = [encode(np.full((8, 8, 3), grey, np.uint8)) for grey in greys]
    faces = VerificationBin(save(tmp_path, dumps((images, same), 4)), size=(4, 6))
    assert faces.images.shape == (1200, 3, 4, 6)
    assert faces.folds.tolist() == [i for i in range(10) for _ in range(60)]
    angle = faces.images.float().mean((1, 2, 3)) / 100
    embeddings = torch.stack([angle.cos(), angle.sin()], 1)
    result = evaluate_pairs(embeddings, faces.pairs, faces.same, folds=faces.folds)
    assert result.accuracy == 1


@pytest.mark.skipif(REAL is None, reason="FACELEARN_DATA is not set: no real .bin to read")
def test_a_real_file() -> None:
    path = Path(REAL or "") / "format_samples/insightface_small_lfw.bin"
    faces = VerificationBin(path)
    assert faces.images.shape == (20, 3, 112, 112)
    assert faces.same.tolist() == [True] * 10
    assert faces.folds.tolist() == list(range(10))
    data = path.read_bytes()
    starts = [i for i in range(len(data)) if data.startswith(b"\xff\xd8\xff\xe0\x00\x10JFIF", i)]  # found by eye
    assert len(starts) == 20
    for image, start in zip(faces.images, starts, strict=True):
        assert np.array_equal(image.numpy(), decoded(data[start:]))


# ---- files that want to run something ------------------------------------------------------------------------


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call

    def __call__(self) -> None:
        """pickle asks that what is called can be called."""


class Touch:
    """Creates a file when it is made, or when it is given a state."""

    def __new__(cls, path: bytes = b"", *, other: bytes = b"") -> "Touch":
        if path or other:
            Path(os.fsdecode(path or other)).touch()
        return super().__new__(cls)

    def __setstate__(self, path: bytes) -> None:
        Path(os.fsdecode(path)).touch()


def live(path: Path) -> dict[str, bytes]:
    """Pickles that create `path` when they are unpickled, in each way that the pickle machine has."""
    code, command = f"open({str(path)!r}, 'w').close()", f"touch {path}"
    system = pickle.dumps(Call(os.system, command), 2)[2:-1]
    touch = f"c{Touch.__module__}\nTouch\n".encode()
    name = blob(os.fsencode(path))
    imported = Call(getattr, Call(__import__, "os"), "system")
    return {
        "os.system": pickle.dumps(Call(os.system, command)),
        "protocol 0": pickle.dumps(Call(os.system, command), 0),
        "eval": pickle.dumps(Call(eval, code)),
        "exec": pickle.dumps(Call(exec, Call(compile, code, "x", "exec"))),
        "getattr of an import": pickle.dumps(Call(imported, command)),
        "importlib": pickle.dumps(Call(Call(getattr, Call(importlib.import_module, "os"), "system"), command)),
        "map": pickle.dumps(Call(list, Call(map, eval, [code]))),
        "partial": pickle.dumps(Call(functools.partial(eval, code))),
        "dotted name": b"\x80\x04" + text("pathlib") + text("os.system") + b"\x93" + text(command) + b"\x85R.",
        "INST": b"\x80\x02(S'" + command.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "NEWOBJ": b"\x80\x03" + touch + name + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04" + touch + b")}" + text("other") + name + b"s\x92.",
        "BUILD": b"\x80\x03" + touch + b")\x81" + name + b"b.",
        "BUILD of a call": b"\x80\x03" + touch + b")R" + name + b"b.",
        "among the images": b"\x80\x02](" + system + b"e]\x88a\x86.",
        "among the flags": b"\x80\x02]]" + system + b"a\x86.",
        "dropped": b"\x80\x02" + system + b"0]]\x86.",
        "after a whole file": WHOLE["bytes, protocol 3"][:-1] + system + b"0.",
        "as the state of an array": b"\x80\x02cnumpy\nndarray\n" + system + b"b.",
        "as an array's class": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n" + system + b"K\x00\x85U\x01b\x87R.",
        "as a dtype": b"\x80\x02cnumpy\ndtype\n(" + system + b"K\x00K\x01tR.",
        "as a text to encode": b"\x80\x02c_codecs\nencode\n" + system + text("latin1") + b"\x86R.",
        "as objects of an array": ARRAY.join([b"\x80\x03", b"(K\x01K\x01\x85" + O8 + b"\x89]" + system + b"atb."]),
    }


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def blob(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
U1 = b"cnumpy\ndtype\n" + text("u1") + b"\x89\x88\x87R"
STATE = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
O8 = U1.replace(b"u1", b"O8")


def frombuffer(shape: bytes) -> bytes:
    """Two images and a flag, the first image an array of this shape: tuples within tuples grow without end."""
    first = b"cnumpy.core.numeric\n_frombuffer\n(" + blob(b"a") + U1 + shape + text("C") + b"tR"
    return b"](" + first + b"C\x01ae]\x88a\x86."


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # numpy's, of its old names
@pytest.mark.parametrize("name", live(Path("x")))
def test_nothing_in_a_file_runs(tmp_path: Path, name: str) -> None:
    witness = tmp_path / "it_ran"
    data = live(witness)[name]
    with contextlib.suppress(Exception):  # what comes after the deed may fail
        pickle.loads(data, encoding="bytes")
    assert witness.exists(), "the payload is dead: it would prove nothing"
    witness.unlink()
    with pytest.raises(ValueError, match=r"set\.bin: offset \d+: found"):
        VerificationBin(save(tmp_path, data))
    assert not witness.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"cos\nsystem\n.", "the name 'os system'"),
        (b"c__builtin__\neval\n.", "the name '__builtin__ eval'"),
        (b"cnumpy\nload\n.", "the name 'numpy load'"),
        (b"cnumpy.testing\nrunstring\n.", "the name 'numpy.testing runstring'"),
        (b"cnumpy\nndarray.__class__\n.", "the name 'numpy ndarray.__class__'"),
        (b"cnumpy\nmemmap\n.", "the name 'numpy memmap'"),
        (text("numpy") + text("ndarray ") + b"\x93.", "the name 'numpy ndarray '"),
        (text("numpy") + b"K\x01\x93.", "a name that is no text"),
        (b"Pa persistent id\n.", "instruction PERSID"),
        (b"N\x51.", "instruction BINPERSID"),
        (b"\x82\xf0.", "instruction EXT1"),
        (b"\x83\xf0\x00.", "instruction EXT2"),
        (b"\x84\xf0\x00\x00\x00.", "instruction EXT4"),
        (b"cnumpy\nndarray\n)\x81.", "instruction NEWOBJ"),
        (b"cnumpy\nndarray\n))\x92.", "instruction NEWOBJ_EX"),
        (b"(cnumpy\nndarray\no.", "instruction OBJ"),
        (b"(inumpy\nndarray\n.", "instruction INST"),
        (b"}.", "instruction EMPTY_DICT"),
        (b"\x8f.", "instruction EMPTY_SET"),
        (b"N2.", "instruction DUP"),
        (b"\x97.", "instruction NEXT_BUFFER"),
        (b"cnumpy\nndarray\n)R.", "a call of ndarray with other arguments"),
        (b"cnumpy\nndarray\nNb.", "a state for name"),
        (b"cnumpy\nndarray\nN\x85R.", "a call of ndarray"),
        (b"N)R.", "a call of nonetype"),
        (b"])R.", "a call of list"),
        (b"]Nb.", "a state for list"),
        (ARRAY.replace(b"cnumpy\nndarray", b"cnumpy\ndtype") + b".", "a call of array with other arguments"),
        (ARRAY.replace(b"K\x00", b"M\xff\xff") + b".", "a call of array with other arguments"),
        (U1.replace(b"u1", b"O8") + b".", "a call of dtype with other arguments"),
        (U1.replace(b"u1", b"V9") + b".", "a call of dtype with other arguments"),
        (U1.replace(text("u1"), b"](" + text("a") + text("O") + b"\x86e") + b".", "a call of dtype with other"),
        (U1 + STATE.replace(b"NNN", b"N}N") + b".", "instruction EMPTY_DICT"),
        (U1 + STATE.replace(b"NNN", text("x") + b"NN") + b".", "a state for type"),
        (U1 + STATE.replace(text("|"), text(">")) + b".", "a state for type"),
        (ARRAY + b"(K\x01K\x01\x85" + U1 + b"\x89]tb.", "a state for array"),  # objects in place of bytes
        (ARRAY + b"N" + b"}\x86b.", "instruction EMPTY_DICT"),
        (ARRAY + b"(K\x01K\x01\x85" + U1 + b"\x89C\x01atb" + b"(K\x01K\x01\x85" + U1 + b"\x89C\x01atb.", "a state for"),
        (b"c_codecs\nencode\n" + text("78da") + text("hex") + b"\x86R.", "a call of encode with other arguments"),
        (b"c_codecs\nencode\n" + text("a") + text("zlib") + b"\x86R.", "a call of encode with other arguments"),
        (b"c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.", "a call of encode with other arguments"),
        (b"c_codecs\nencode\n" + text("a") + text("latin1") + text("x") + b"\x87R.", "a call of encode"),
        (b"c_codecs\nencode\n" + text("€") + text("latin1") + b"\x86R.", "text beyond Latin-1"),
        (b"cnumpy.core.multiarray\nscalar\n" + U1 + b"C\x01\x01\x86R.", "a call of scalar with other arguments"),
        (b"h\x05.", "memo 5 before it is set"),
        (b"q\x00.", "an instruction that takes from an empty stack"),
        (b"\x86.", "an instruction that takes from an empty stack"),
        (b"](\x85.", "an instruction that takes from an empty stack"),
        (b"e.", "an instruction that needs a mark"),
        (b"N(e.", "nonetype in place of a list to append to"),
        (b".", "an instruction that takes from an empty stack"),
        (b"N.", r"nonetype in place of \(images, flags\)"),
        (b"]]]\x87.", r"tuple in place of \(images, flags\)"),
        (b"NN\x86.", "nonetype in place of a list of images"),
        (b"]N\x86.", "nonetype in place of a list of flags"),
        (b"]]\x86.", "0 images and 0 flags in place of"),
        (b"]C\x01aa]\x88a\x86.", "1 images and 1 flags in place of"),
        (b"](NNe]\x88a\x86.", "nonetype in place of image 0"),
        (b"](NNe]K\x02a\x86.", "nonetype in place of image 0"),
        (b"]](K\x02e\x86.", "2 in place of True or False as flag 0"),
        (b"]](Ne\x86.", "nonetype in place of True or False as flag 0"),
        (b"]" + ARRAY + b"a]\x88a\x86.", "array in place of image 0"),
        (
            b"]" + ARRAY + b"(K\x01K\x05\x85" + U1 + b"\x89C\x01atba]\x88a\x86.",
            r"1 bytes as u1 of shape \(5,\) in",
        ),
        (
            b"]" + ARRAY + b"(K\x01K\x02K\x02\x86" + U1 + b"\x89C\x04abcdtba]\x88a\x86.",
            r"4 bytes as u1 of shape \(2, 2\)",
        ),
        (frombuffer(b")q\x00" + b"h\x00\x86q\x00" * 60), "1 bytes as u1 of shape that is none in place of image 0"),
        (frombuffer(b")" + b"\x85" * 2000), "1 bytes as u1 of shape that is none in place of image 0"),
        (frombuffer(b"]\x85"), "1 bytes as u1 of shape that is none in place of image 0"),
        (b"]]\x86.more", "4 bytes after the end"),
        (b"]]\x86", "pickle exhausted before seeing STOP"),
        (b"\xfe", "at position 2, opcode b'\\\\xfe' unknown"),
        (b"B\xff\xff\xff\x7fabc", "expected 2147483647 bytes in a bytes4, but only 3 remain"),
        (b"\x8e" + b"\xff" * 8 + b"abc.", "bytes8 byte count|remain"),
    ],
)
def test_foreign_instructions_are_named_with_their_place(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"set\.bin: offset \d+: found .*({message})"):
        VerificationBin(save(tmp_path, b"\x80\x03" + body))


def test_registered_extensions_are_not_looked_up(tmp_path: Path) -> None:
    """An EXT instruction makes pickle import what a program has registered."""
    copyreg.add_extension("antigravity", "geohash", 240)
    try:
        with pytest.raises(ValueError, match="instruction EXT1"):
            VerificationBin(save(tmp_path, b"\x80\x02\x82\xf0."))
    finally:
        copyreg.remove_extension("antigravity", "geohash", 240)
    assert "antigravity" not in sys.modules


# ---- files that want too much memory -------------------------------------------------------------------------


def solid_png(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    return file.getvalue()


MANY = "more instructions than such a file needs"
BOMBS = {
    "marks": (b"(" * 60_000, MANY),
    "lists": (b"]" * 60_000, MANY),
    "memos": (b"N" + b"\x94" * 60_000, MANY),
    "tuples in tuples": (b"N" + b"\x85" * 60_000, MANY),
    "tuples doubled": (b"N" + b"q\x00h\x00\x86" * 15_000 + b".", MANY),
    "one image named often": (b"]" + blob(IMAGES[0]) + b"q\x00(" + b"h\x00" * 60_000 + b"e.", MANY),
    "a length of 2 GB": (b"B\xff\xff\xff\x7f", "expected 2147483647 bytes"),
    "a length beyond all": (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "expected 9223372036854775807 bytes"),
    "a frame beyond all": (b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f", "pickle exhausted"),
    "an array beyond all": (
        b"]" + ARRAY + b"(K\x01\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x0f\x85" + U1 + b"\x89C\x01atba]\x88a\x86.",
        r"1 bytes as u1 of shape \(1152921504606846975,\)",
    ),
    "a number of a megabyte": (b"\x8b\xff\xff\x0f\x00" + b"\x7f" * 0xFFFFF + b".", "instruction LONG4"),
    "digits": (b"I" + b"9" * 1_000_000 + b"\n.", "Exceeds the limit"),
    "a picture of 81 megapixels": (
        b"](" + blob(solid_png(9000)) + blob(solid_png(9)) + b"e]\x88a\x86.",
        "9000 x 9000 pixels, more than 50000000",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_file_takes_more_memory_than_it_is_worth(tmp_path: Path, name: str) -> None:
    data, message = BOMBS[name]
    path = save(tmp_path, b"\x80\x04" + data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"set\.bin: offset \d+: .*found {message}"):
            VerificationBin(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * path.stat().st_size + 5_000_000


def test_the_limit_of_growth_counts_tensors_too(tmp_path: Path) -> None:
    """tracemalloc does not see torch's memory; this one would take 6 GB."""
    shared = b"](" + blob(solid_png(1000)) + b"q\x00" + b"h\x00" * 1999 + b"e](" + b"\x88" * 1000 + b"e\x86."
    with pytest.raises(ValueError, match=r"image 0: found 2000 x 3000000 bytes of pixels, expected at most \d+"):
        VerificationBin(save(tmp_path, b"\x80\x04" + shared))


# ---- damaged files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bytes, protocol 4", "arrays, protocol 3, old numpy", "Python 2 with numpy"])
def test_cut_short_anywhere(tmp_path: Path, form: str) -> None:
    data = WHOLE[form]
    ends = set(range(0, len(data), 97)) | set(range(200)) | set(range(len(data) - 60, len(data)))
    for end in sorted(ends):
        with pytest.raises(ValueError, match=r"set\.bin: offset \d+: found"):
            VerificationBin(save(tmp_path, data[:end]))


@pytest.mark.parametrize("data", [b"", b"\x80", IMAGES[0], b"(lp0\n.", b"\x80\x01](.", b"\x80\x06](."])
def test_files_that_begin_otherwise(tmp_path: Path, data: bytes) -> None:
    found = data[:2].hex() or "end of file"
    with pytest.raises(ValueError, match=rf"set\.bin: offset 0: found {found}, expected 8002 to 8005"):
        VerificationBin(save(tmp_path, data))


def test_images_that_are_none(tmp_path: Path) -> None:
    for data, message in [
        (b"GIF89a", "found 6 bytes that begin with 474946383961"),
        (b"", "found 0 bytes that begin with nothing"),
        (IMAGES[1][:-50], "found image file is truncated"),
        (encode(picture(1, (9, 9))), "found 9x9 pixels .* expected 12x10 like the first"),
    ]:
        path = save(tmp_path, dumps(([IMAGES[0], data], [True]), 3))
        offset = path.read_bytes().find(data[:20] or b"C\0", len(IMAGES[0])) - (
            5 if len(data) > 255 else 2 * bool(data)
        )
        with pytest.raises(ValueError, match=rf"set\.bin: offset {offset}: image 1: {message}"):
            VerificationBin(path)


def quiet(path: Path) -> str:
    """The message, if it is refused; only ValueError comes through."""
    try:
        VerificationBin(path)
    except ValueError as error:
        return str(error)
    return str(path)


TINY = dumps(([np.frombuffer(solid_png(2), np.uint8)] * 2, [True]), 2, True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_damage(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(TINY)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert str(tmp_path) in quiet(save(tmp_path, bytes(content)))


PIECES = [bytes([code]) for code in b"()]e0aN\x85\x86\x87\x88\x89Rbt\x93\x94\x81o2}"] + [
    b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"c_codecs\nencode\n",
    b"cbuiltins\neval\n", b"K\x00", b"K\x01", text("u1"), text("latin1"), b"C\x01b", blob(solid_png(2)), b"q\x00",
    b"h\x00", ARRAY, U1, STATE, U1 + STATE,
]  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)))
def test_random_programs(tmp_path: Path, body: bytes) -> None:
    assert str(tmp_path) in quiet(save(tmp_path, b"\x80\x04" + body + b"."))
