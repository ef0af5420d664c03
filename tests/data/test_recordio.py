"""RecordIO: files put together here byte by byte, a real one of im2rec, and damaged ones."""

import os
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from facelearn.data import PKBatches, RecordIO, to_float, write_recordio
from facelearn.losses import CosFace
from facelearn.training import embed, fit
from tests.data.make import decoded, encode, picture

REAL = os.environ.get("FACELEARN_DATA")
MAGIC = struct.pack("<I", 0xCED7230A)


def part(kind: int, data: bytes) -> bytes:
    return MAGIC + struct.pack("<I", kind << 29 | len(data)) + data + bytes(-len(data) % 4)


def scalar(label: float, data: bytes, id: int = 0) -> bytes:
    return struct.pack("<IfQQ", 0, label, id, 0) + data


def vector(labels: list[float], data: bytes) -> bytes:
    return struct.pack("<IfQQ", len(labels), 0, 7, 0) + struct.pack(f"<{len(labels)}f", *labels) + data


def save(folder: Path, records: dict[int, bytes], index: bool = True) -> Path:
    """`records` by key, as whole parts, in this order."""
    path, lines, data = folder / "train.rec", [], b""
    for key, record in records.items():
        lines.append(f"{key}\t{len(data)}\n")
        data += record
    path.write_bytes(data)
    path.with_suffix(".idx").write_text("".join(lines))
    if not index:
        path.with_suffix(".idx").unlink()
    return path


IMAGES = [encode(picture(i)) for i in range(6)]
LABELS = [0, 0, 1, 1, 1, 2]
IM2REC = {key: part(0, scalar(LABELS[key], IMAGES[key], key)) for key in (4, 0, 5, 1, 3, 2)}
INSIGHTFACE = {
    **{i + 1: part(0, vector([LABELS[i], 9.5], IMAGES[i])) for i in range(6)},
    **{7 + c: part(0, vector(span, b"")) for c, span in enumerate([[1.0, 3.0], [3.0, 6.0], [6.0, 7.0]])},
    0: part(0, vector([7.0, 10.0], b"")),
}


def test_a_picture_that_was_exchanged_has_another_length(tmp_path: Path) -> None:
    before = RecordIO(save(tmp_path, IM2REC)).lengths
    after = RecordIO(save(tmp_path, IM2REC | {0: part(0, scalar(0, IMAGES[0] + bytes(8), 0))})).lengths
    assert len(before) == len(after)
    assert before != after


def check(faces: RecordIO, keys: list[int], order: list[int]) -> None:
    assert faces.keys.tolist() == keys
    assert faces.labels.tolist() == [LABELS[i] for i in order]
    assert faces.num_classes == 3
    for (image, label), i in zip(faces, order, strict=True):
        assert torch.equal(image, to_float(torch.from_numpy(decoded(IMAGES[i]))))
        assert label == LABELS[i]


def test_files_of_im2rec(tmp_path: Path) -> None:
    path = save(tmp_path, IM2REC)
    check(RecordIO(path), list(range(6)), list(range(6)))
    assert RecordIO(path).record(3).data == IMAGES[3]
    path.with_suffix(".idx").rename(tmp_path / "other.idx")
    check(RecordIO(path, tmp_path / "other.idx"), list(range(6)), list(range(6)))
    check(RecordIO(path), list(range(6)), [4, 0, 5, 1, 3, 2])  # without index: the order of the file


@pytest.mark.parametrize("first", [True, False])
def test_files_of_insightface(tmp_path: Path, first: bool) -> None:
    records = {0: INSIGHTFACE[0], **INSIGHTFACE} if first else INSIGHTFACE
    path = save(tmp_path, records)
    check(RecordIO(path), [1, 2, 3, 4, 5, 6], list(range(6)))
    assert RecordIO(path).record(2).labels.tolist() == [1, 9.5]
    (tmp_path / "property").write_text("3,112,112\n")
    assert RecordIO(path).num_classes == 3
    (tmp_path / "property").write_text("93431,112,112")
    assert RecordIO(path).num_classes == 93431
    for text in ("", "many,112,112", "0,1,1", "-3"):
        (tmp_path / "property").write_text(text)
        with pytest.raises(ValueError, match=f"property: offset 0: found '{text}', expected number of classes"):
            _ = RecordIO(path).num_classes
    (tmp_path / "property").unlink()
    path.with_suffix(".idx").unlink()
    check(RecordIO(path), list(range(6)), list(range(6)))


def test_several_labels_do_not_make_record_0_a_header(tmp_path: Path) -> None:
    path = save(tmp_path, {i: part(0, vector([LABELS[i], 2.0], IMAGES[i])) for i in range(6)})
    check(RecordIO(path), list(range(6)), list(range(6)))


def test_records_cut_at_the_magic_number(tmp_path: Path) -> None:
    """In the image, several times and twice in a row; in the labels; in the id, so that the head itself is cut."""
    tail = bytes(-len(IMAGES[0]) % 4)
    head = struct.pack("<IfQQ", 0, 0.0, 5, 0)
    records = {
        0: part(1, head + IMAGES[0] + tail) + part(2, b"") + part(2, b"abcd") + part(3, b"xyz"),
        1: part(1, struct.pack("<IfQQ", 2, 0.0, 0, 0) + struct.pack("<f", 1.0)) + part(3, IMAGES[1]),
        2: part(1, struct.pack("<If", 0, 2.0)) + part(3, bytes(12) + IMAGES[2]),
        3: part(1, struct.pack("<If", 2, 0.0)) + part(3, bytes(12) + struct.pack("<ff", 3.0, 9.0) + IMAGES[3]),
    }
    path = save(tmp_path, records)
    for faces in (RecordIO(path), RecordIO(save(tmp_path, records, index=False))):
        assert faces.record(0).data == IMAGES[0] + tail + MAGIC + MAGIC + b"abcd" + MAGIC + b"xyz"
        assert faces.record(1).labels.tobytes() == struct.pack("<f", 1.0) + MAGIC
        assert faces.labels.tolist() == [0, 1, 2, 3]
        assert [label for _, label in faces] == [0, 1, 2, 3]
        assert torch.equal(faces[2][0], to_float(torch.from_numpy(decoded(IMAGES[2]))))
    write_recordio(tmp_path / "again.rec", [(0.0, faces.record(0).data), ([1.0, 2.0], IMAGES[1])])
    again = (tmp_path / "again.rec").read_bytes()
    assert again.startswith(part(1, struct.pack("<IfQQ", 0, 0.0, 0, 0) + IMAGES[0] + tail) + part(2, b""))
    assert RecordIO(tmp_path / "again.rec").record(0).data == faces.record(0).data


def test_writes_what_is_put_together_here(tmp_path: Path) -> None:
    write_recordio(tmp_path / "a.rec", zip(LABELS, IMAGES, strict=True))
    expected = save(tmp_path, {i: part(0, scalar(LABELS[i], IMAGES[i], i)) for i in range(6)})
    assert (tmp_path / "a.rec").read_bytes() == expected.read_bytes()
    assert (tmp_path / "a.idx").read_text() == expected.with_suffix(".idx").read_text()
    pairs = [((float(label), 9.5), image) for label, image in zip(LABELS, IMAGES, strict=True)]
    write_recordio(tmp_path / "b.rec", pairs, identities=True)
    check(RecordIO(tmp_path / "b.rec"), [1, 2, 3, 4, 5, 6], list(range(6)))
    same_but_ids = (tmp_path / "b.rec").read_bytes()
    assert len(same_but_ids) == len(save(tmp_path, INSIGHTFACE).read_bytes())
    assert (tmp_path / "b.idx").read_text() == (tmp_path / "train.idx").read_text()


def test_writes_whole_files_or_none(tmp_path: Path) -> None:
    def broken():
        yield 0.0, IMAGES[0]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_recordio(tmp_path / "a.rec", broken())
    assert list(tmp_path.iterdir()) == []
    mixed = [(0.0, IMAGES[0]), (1.0, IMAGES[1]), (0.0, IMAGES[2])]
    with pytest.raises(ValueError, match=r"items: found label 0.0 again at key 3, expected its images in a row"):
        write_recordio(tmp_path / "a.rec", mixed, identities=True)


def test_load_and_size(tmp_path: Path) -> None:
    faces = RecordIO(save(tmp_path, IM2REC), size=(6, 5))
    whole = faces.load()
    assert whole.images.shape == (6, 3, 6, 5)
    assert whole.labels.tolist() == LABELS
    some = faces.load([5, 2])
    assert torch.equal(some.images, whole.images[[5, 2]])
    assert some.labels.tolist() == [2, 1]
    odd = {**IM2REC, 6: part(0, scalar(2, encode(picture(1, (8, 9)))))}
    with pytest.raises(ValueError, match=r"record 6: found 8x9 pixels .* expected 12x10 like the first image"):
        RecordIO(save(tmp_path, odd)).load()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader(tmp_path: Path, method: str) -> None:
    faces = RecordIO(save(tmp_path, IM2REC))
    _ = faces[0]  # the file is open in this process, too
    loader = DataLoader(faces, 2, num_workers=2 if method == "fork" else 1, multiprocessing_context=method)
    for _ in range(2 if method == "fork" else 1):
        batches = list(loader)
        assert torch.cat([labels for _, labels in batches]).tolist() == LABELS
        for images, i in zip(torch.cat([images for images, _ in batches]), range(6), strict=True):
            assert torch.equal(images, faces[i][0])


def test_threads_and_copies_and_closing(tmp_path: Path) -> None:
    path = save(tmp_path, IM2REC)
    faces = RecordIO(path)
    with faces, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(faces.record, list(range(6)) * 100))
        assert [record.data for record in found] == IMAGES * 100
        copy = pickle.loads(pickle.dumps(faces))
        assert copy.record(1).data == IMAGES[1]
        assert handles(path) == 2
        copy.close()
        assert handles(path) == 1
    assert handles(path) == 0
    assert faces.record(2).data == IMAGES[2]  # opens it again
    assert handles(path) == 1
    del faces
    assert handles(path) == 0


def handles(path: Path) -> int:
    """How often this process has the file open."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to count open files")
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link) == str(path) for link in links if os.path.islink(link))


def test_fit_and_embed_take_it(tmp_path: Path) -> None:
    faces = RecordIO(save(tmp_path, INSIGHTFACE))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(360, 8))
    records = fit(net, CosFace(8, 3), faces, epochs=2, batches=PKBatches(2, 2, small="drop"), device="cpu")
    assert [record["steps"] for record in records] == [1, 1]
    in_memory = embed(net, faces.load())
    assert torch.allclose(embed(net, faces), in_memory)


# ---- damaged files -------------------------------------------------------------------------------------------


def read_all(path: Path) -> None:
    with RecordIO(path) as faces:
        _ = faces.labels
        for i in range(len(faces)):
            faces.record(i)


# the second ends without zeros, the others with some
TINY = {0: part(0, scalar(0, b"abcde")), 1: part(0, vector([1, 2], b"fgh")), 2: part(1, scalar(1, b"")) + part(3, b"i")}


@pytest.mark.parametrize("index", [True, False])
def test_cut_short_anywhere(tmp_path: Path, index: bool) -> None:
    path = save(tmp_path, TINY, index)
    data = path.read_bytes()
    ends = {len(TINY[0]), len(TINY[0] + TINY[1])}  # a file that ends with a record is whole, if no index knows better
    for end in range(len(data)):
        path.write_bytes(data[:end])
        if end in ends and not index:
            read_all(path)
            continue
        with pytest.raises(ValueError, match=r"train\.(rec|idx): (offset \d+: )?found"):
            read_all(path)


def test_damage_is_named_with_its_place(tmp_path: Path) -> None:
    path = save(tmp_path, TINY)
    data = path.read_bytes()
    second, third = len(TINY[0]), len(TINY[0] + TINY[1])
    cases = [
        (second, b"\x89PNG", f"offset {second}: found 89504e47, expected the magic number 0a23d7ce"),
        (second + 4, struct.pack("<I", 3 << 29), f"offset {second + 4}: found kind 3, expected 0 or 1"),
        (second + 4, struct.pack("<I", 5 << 29), f"offset {second + 4}: found kind 5, expected 0 or 1"),
        (third + 36, struct.pack("<I", 1 << 29), f"offset {third + 36}: found kind 1, expected 0 or 1 .* 2 or 3"),
        (second + 4, struct.pack("<I", 999), f"offset {second + 4}: found length 999, expected at most the"),
        (second + 4, struct.pack("<I", 20), f"offset {second}: .*found 20 bytes, expected a header of 24"),
        (second + 8, struct.pack("<I", 3), f"offset {second}: .*found 3 labels in 35 bytes"),
        (12, struct.pack("<f", -1), "offset 0: .*found label -1.0, expected a whole number"),
        (12, struct.pack("<f", 0.5), "offset 0: .*found label 0.5, expected a whole number"),
        (12, struct.pack("<f", float("nan")), "offset 0: .*found label nan, expected a whole number"),
        (12, struct.pack("<f", float("inf")), "offset 0: .*found label inf, expected a whole number"),
    ]
    for where, damage, message in cases:
        path.write_bytes(data[:where] + damage + data[where + len(damage) :])
        with pytest.raises(ValueError, match=rf"train\.rec: {message}"):
            read_all(path)
    path.write_bytes(data[: second + 4] + struct.pack("<I", 20) + data[second + 8 :])
    with pytest.raises(ValueError, match=rf"offset {second}: found 20 bytes, expected a header of 24"):
        _ = RecordIO(path).labels
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"train.rec: offset 0: record 0: found 5 bytes that begin with 6162636465"):
        RecordIO(path)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no line with a key and an offset"),
        ("\n\n", "found no line with a key and an offset"),
        ("0\t0\n1\n", r"line 2: found b'1\\n', expected a key and an offset"),
        ("0\t0\t0\n", "line 1: found .* expected a key and an offset"),
        ("0\t0\n\n1\tzero\n", "line 3: found .* expected a key and an offset"),
        ("0\t99999999999999999999\n", "line 1: found .* expected a key and an offset"),
        ("\x89PNG", "line 1: found .* expected a key and an offset"),
        ("0\t0\n0\t40\n", "found key 0 with offset 40: key twice"),
        ("0\t0\n1\t4000\n", "found key 1 with offset 4000: offset outside a file of"),
        ("0\t0\n1\t42\n", "found key 1 with offset 42: offset that is no multiple of 4"),
        ("0\t0\n1\t0\n", "found key 1 with offset 0: offset twice"),
        ("0\t0\n", "found offset 0 as the last, whose record ends at 40?, expected an index of all"),
        ("0\t0\n-1\t40\n", "line 2: found .* expected a key and an offset|found key -1 with offset 40: key below 0"),
    ],
)
def test_damaged_index(tmp_path: Path, text: str, message: str) -> None:
    path = save(tmp_path, TINY)
    path.with_suffix(".idx").write_text(text)
    with pytest.raises(ValueError, match=rf"train\.idx: ({message})"):
        RecordIO(path)


def test_index_of_another_file(tmp_path: Path) -> None:
    path = save(tmp_path, IM2REC)
    path.with_suffix(".idx").write_text("0\t0\n1\t40\n")
    with pytest.raises(ValueError, match=r"train.rec: offset 40: found [0-9a-f]{8}, expected the magic number"):
        RecordIO(path)


def test_an_index_without_the_key_of_the_header_takes_no_identities_for_images(tmp_path: Path) -> None:
    path = save(tmp_path, INSIGHTFACE)
    lines = path.with_suffix(".idx").read_text().splitlines(keepends=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(lines[-1].split()[1])])  # without record 0, at the end
    path.with_suffix(".idx").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"train\.idx: found no key 0, but key 7 without an image"):
        RecordIO(path)


def test_labels_with_gaps_are_numbered_anew_and_said(tmp_path: Path) -> None:
    path = save(tmp_path, {i: part(0, scalar(label, IMAGES[i])) for i, label in enumerate((52000, 17, 85741, 17))})
    faces = RecordIO(path)
    with pytest.warns(UserWarning, match=r"train\.rec: found labels of 3 people up to 85741, which leave gaps") as told:
        assert faces.labels.tolist() == [1, 0, 2, 0]
    assert told[0].filename == __file__
    assert (faces.num_classes, faces.names) == (3, ["17", "52000", "85741"])
    assert [faces[i][1] for i in range(4)] == faces.load().labels.tolist() == [1, 0, 2, 0]
    assert faces.record(2).labels.tolist() == [85741]
    path.with_name("property").write_text("\ufeff85742,12,10")  # the whole set's: classes without images are meant
    faces = RecordIO(path)
    assert faces.labels.tolist() == [52000, 17, 85741, 17]
    assert faces.num_classes == len(faces.names) == 85742


def test_an_index_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = save(tmp_path, TINY)
    expected = RecordIO(path)
    index = path.with_suffix(".idx")
    index.write_bytes(b"\xef\xbb\xbf" + index.read_bytes())
    assert RecordIO(path).keys.tolist() == expected.keys.tolist()


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, {0: part(0, scalar(0, IMAGES[0])), 1: part(0, scalar(1, encode(picture(1, (9, 9)))))})
    with pytest.raises(ValueError, match=r"train\.rec: offset \d+: record 1: found 9x9 pixels .* expected 12x10"):
        RecordIO(path)[1]


def test_fewer_classes_than_labels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, IM2REC)
    (tmp_path / "property").write_text("2,112,112")
    with pytest.raises(ValueError, match="property: found 2 classes, expected at least 3: a label is 2"):
        _ = RecordIO(path).num_classes


def test_header_and_index_disagree(tmp_path: Path) -> None:
    for labels, message in [
        (
            [99.0, 102.0],
            r"train.idx: found 9 keys from 1 to 98, expected all that the header at .*: record 0",
        ),
        ([0.0, 3.0], "train.idx: found 0 keys from 1 to -1, expected all"),
        ([1.0, 3.0], "train.idx: found 0 keys from 1 to 0, expected all"),
        ([1.5, 3.0], r"train.rec: offset \d+: record 0: found label 1.5"),
    ]:
        path = save(tmp_path, {**INSIGHTFACE, 0: part(0, vector(labels, b""))})
        with pytest.raises(ValueError, match=message):
            RecordIO(path)


def test_more_images_than_float32_can_count(tmp_path: Path) -> None:
    """Glint360K's header rounds; which keys are images is then seen from the records themselves. Drawn in small."""
    import facelearn.data.recordio as module

    for announced in (6.0, 7.0, 8.0):
        path = save(tmp_path, {**INSIGHTFACE, 0: part(0, vector([announced, 10.0], b""))})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_EXACT", 5)
            assert RecordIO(path).keys.tolist() == [1, 2, 3, 4, 5, 6]


def test_missing_and_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.rec"):
        RecordIO(tmp_path / "none.rec")
    (tmp_path / "a.rec").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.rec: offset 0: found end of file|found no image"):
        RecordIO(tmp_path / "a.rec")
    (tmp_path / "a.rec").write_bytes(IMAGES[0])
    with pytest.raises(ValueError, match=r"a\.rec: offset 0: found ffd8ffe0, expected the magic number"):
        RecordIO(tmp_path / "a.rec")
    only_header = save(tmp_path, {0: INSIGHTFACE[0]}, index=False)
    with pytest.raises(ValueError, match=r"train\.rec: offset 0: found no image"):
        RecordIO(only_header)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.booleans())
def test_random_damage_raises_value_error_or_nothing(tmp_path: Path, data: st.DataObject, index: bool) -> None:
    path = save(tmp_path, TINY, index)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    message = str(path)  # no error is as good
    try:
        read_all(path)
    except ValueError as error:
        message = str(error)
    assert str(tmp_path) in message


@pytest.mark.skipif(REAL is None, reason="FACELEARN_DATA is not set: no real RecordIO file to read")
def test_a_real_file_of_im2rec() -> None:
    folder = Path(REAL or "") / "format_samples"
    faces = RecordIO(folder / "train.rec")
    listed = {int(k): int(c) for k, c, _ in map(str.split, (folder / "train.lst").read_text().splitlines())}
    assert faces.labels.tolist() == [listed[key] for key in range(8)]
    offsets = {int(k): int(o) for k, o in map(str.split, (folder / "train.idx").read_text().splitlines())}
    content = (folder / "train.rec").read_bytes()
    for key in range(8):
        start, after = offsets[key] + 32, min([o for o in offsets.values() if o > offsets[key]], default=len(content))
        assert faces.record(key).data == content[start : start + len(faces.record(key).data)]
        assert 0 <= after - start - len(faces.record(key).data) < 4
        image, label = faces[key]
        assert torch.equal(image, to_float(torch.from_numpy(decoded(faces.record(key).data))))
        assert label == listed[key]
    assert faces.load().images.shape == (8, 3, 112, 112)
    assert np.array_equal(faces.keys, np.arange(8))
