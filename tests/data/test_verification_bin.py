"""Verification sets that are pickles: whole ones of every age, damaged ones, and ones that name or do something else.

What is refused here is refused for what it is, not for what it would do: every file in this module is harmless to any
reader. Limits are tested by lowering them.
"""

import copyreg
import io
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from facelearn.data import VerificationBin, files, verification_bin
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
    "numbers with a fraction": dumps((IMAGES, [1.0, 0.0, 1.0]), 4),
    **{f"array of {kind}": dumps((IMAGES, np.array(FLAGS, kind)), 4) for kind in ("int8", "uint16", "int64", ">i4")},
    **{f"array of {kind}": dumps((IMAGES, np.array(FLAGS, kind)), 2, True) for kind in ("float16", "float32", "f8")},
    **{f"a list of {kind}": dumps((IMAGES, list(np.array(FLAGS, kind))), 4) for kind in ("int64", "float64", ">i2")},
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


# ---- files that name or do something else --------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def blob(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
U1 = b"cnumpy\ndtype\n" + text("u1") + b"\x89\x88\x87R"
I8 = U1.replace(b"u1", b"i8")
STATE = b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def frombuffer(shape: bytes) -> bytes:
    """Two images and a flag, the first image an array of this shape: tuples within tuples grow without end."""
    first = b"cnumpy.core.numeric\n_frombuffer\n(" + blob(b"a") + U1 + shape + text("C") + b"tR"
    return b"](" + first + b"C\x01ae]\x88a\x86."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"cmath\nsqrt\n.", "the name 'math sqrt'"),
        (b"c__builtin__\nlen\n.", "the name '__builtin__ len'"),
        (b"cnumpy\nzeros\n.", "the name 'numpy zeros'"),
        (b"cnumpy.testing\nassert_equal\n.", "the name 'numpy.testing assert_equal'"),
        (b"cnumpy\nndarray.shape\n.", "the name 'numpy ndarray.shape'"),
        (b"cnumpy\nmatrix\n.", "the name 'numpy matrix'"),
        (b"cmath\nsqrt\nK\x04\x85R.", "the name 'math sqrt'"),
        (text("math") + text("sqrt") + b"\x93K\x04\x85R.", "the name 'math sqrt'"),
        (b"cmath\nsqrt\nK\x04\x85R0]]\x86.", "the name 'math sqrt'"),  # made, and dropped
        (WHOLE["bytes, protocol 3"][2:-1] + b"cmath\nsqrt\n0.", "the name 'math sqrt'"),  # after a whole file
        (b"](cmath\nsqrt\ne]\x88a\x86.", "the name 'math sqrt'"),  # among the images
        (b"]]cmath\nsqrt\na\x86.", "the name 'math sqrt'"),  # among the flags
        (b"cnumpy\nndarray\ncmath\nsqrt\nb.", "the name 'math sqrt'"),  # as a state
        (ARRAY.replace(b"cnumpy\nndarray", b"cmath\nsqrt") + b".", "the name 'math sqrt'"),  # as an array's class
        (b"(cmath\nsqrt\nK\x04o.", "the name 'math sqrt'"),
        (b"(K\x04imath\nsqrt\n.", "instruction INST"),
        (b"I4\n.", "instruction INT"),
        (b"\x8b\x01\x00\x00\x00\x04.", "instruction LONG4"),
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
        (b"cnumpy.core.multiarray\nscalar\n" + U1 + b"N\x86R.", "a call of scalar with other arguments"),
        (b"cnumpy.core.multiarray\nscalar\n" + U1 + b"C\x00\x86R.", "0 bytes as u1 in place of a number"),
        (b"cnumpy.core.multiarray\nscalar\n" + I8 + b"C\x01a\x86R.", "1 bytes as i8 in place of a number"),
        (b"cnumpy.core.multiarray\nscalar\n" + I8 + b"C\x08abcdefgh\x86R.", "8 bytes as i8 in place of a number"),
        (I8 + STATE + b".", "a state for type"),
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
        (b"]](K\x02e\x86.", "2 in place of 0 or 1 as flag 0"),
        (b"]](Ne\x86.", "nonetype in place of 0 or 1 as flag 0"),
        (b"]" + ARRAY + b"a]\x88a\x86.", "array in place of image 0"),
        (
            b"]" + ARRAY + b"(K\x01K\x05\x85" + U1 + b"\x89C\x01atba]\x88a\x86.",
            r"1 bytes as u1 of shape \(5,\) in",
        ),
        (
            b"]" + ARRAY + b"(K\x01K\x02K\x02\x86" + U1 + b"\x89C\x04abcdtba]\x88a\x86.",
            r"4 bytes as u1 of shape \(2, 2\)",
        ),
        (frombuffer(b")q\x00" + b"h\x00\x86q\x00" * 3), "1 bytes as u1 of shape that is none in place of image 0"),
        (frombuffer(b")" + b"\x85" * 3), "1 bytes as u1 of shape that is none in place of image 0"),
        (frombuffer(b"]\x85"), "1 bytes as u1 of shape that is none in place of image 0"),
        (b"]]\x86.more", "4 bytes after the end"),
        (b"]]\x86", "pickle exhausted before seeing STOP"),
        (b"\xfe", "at position 2, opcode b'\\\\xfe' unknown"),
        (b"B\x09\x00\x00\x00abc", "expected 9 bytes in a bytes4, but only 3 remain"),
        (b"\x8e\x09" + b"\x00" * 7 + b"abc", "expected 9 bytes in a bytes8, but only 3 remain"),
        (b"\x95\x09" + b"\x00" * 7 + b"N", "pickle exhausted"),
    ],
)
def test_foreign_instructions_are_named_with_their_place(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"set\.bin: offset \d+: found .*({message})"):
        VerificationBin(save(tmp_path, b"\x80\x03" + body))


def test_registered_extensions_are_not_looked_up(tmp_path: Path) -> None:
    """An EXT instruction makes pickle import what a program has registered."""
    copyreg.add_extension("this.is.no.module", "name", 240)
    try:
        with pytest.raises(ValueError, match="instruction EXT1"):
            VerificationBin(save(tmp_path, b"\x80\x02\x82\xf0."))
    finally:
        copyreg.remove_extension("this.is.no.module", "name", 240)


def test_no_name_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the names that such files have: numpy's own are words to compare with."""
    path = save(tmp_path, WHOLE["arrays, protocol 4"])
    monkeypatch.setitem(sys.modules, "numpy", None)  # whoever imports it now fails
    monkeypatch.setattr(pickle, "loads", None)
    data = path.read_bytes()
    images, flags = verification_bin._contents(data, "here")
    assert [image.data for image in images] == IMAGES
    assert flags == FLAGS


# ---- limits, lowered -----------------------------------------------------------------------------------------


MANY = "more instructions than such a file needs"


@pytest.mark.parametrize(
    "body",
    [b"(" * 40, b"]" * 40, b"N" + b"\x94" * 40, b"N" + b"\x85" * 40, b"N" + b"q\x00h\x00\x86" * 13, b"](" + b"N" * 40],
)
def test_instructions_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    path = save(tmp_path, b"\x80\x04" + body)
    monkeypatch.setattr(verification_bin, "_INSTRUCTIONS", 20)
    with pytest.raises(ValueError, match=rf"set\.bin: offset \d+: found {MANY}"):
        VerificationBin(path)
    monkeypatch.setattr(verification_bin, "_INSTRUCTIONS", 60)
    with pytest.raises(ValueError, match=r"found pickle exhausted before seeing STOP"):
        VerificationBin(path)


def solid_png(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    return file.getvalue()


def test_pixels_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, dumps(([solid_png(11), solid_png(9)], [True]), 3))
    monkeypatch.setattr(files, "MAX_PIXELS", 120)
    with pytest.raises(ValueError, match=r"image 0: found 11 x 11 pixels, more than 120"):
        VerificationBin(path)


def test_growth_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One image that is named ten times takes its pixels ten times."""
    shared = b"](" + blob(solid_png(20)) + b"q\x00" + b"h\x00" * 9 + b"e](" + b"\x88" * 5 + b"e\x86."
    path = save(tmp_path, b"\x80\x04" + shared)
    assert len(VerificationBin(path)) == 10
    monkeypatch.setattr(verification_bin, "_GROWTH", 10)
    with pytest.raises(ValueError, match=r"image 0: found 10 x 1200 bytes of pixels, expected at most \d+"):
        VerificationBin(path)


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
    b"cbuiltins\nlen\n", b"K\x00", b"K\x01", text("u1"), text("latin1"), b"C\x01b", blob(solid_png(2)), b"q\x00",
    b"h\x00", ARRAY, U1, STATE, U1 + STATE,
]  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)))
def test_random_programs(tmp_path: Path, body: bytes) -> None:
    assert str(tmp_path) in quiet(save(tmp_path, b"\x80\x04" + body + b"."))
