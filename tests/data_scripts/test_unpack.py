"""Archives that are refused leave nothing behind; sound ones arrive whole.

They name, link or hold what no archive of photographs does, and are harmless to any reader; limits are lowered.
"""

import gzip
import io
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from data_scripts._fetch import Stop, unpack, whole, working_in, write
from facelearn.data import files

LIMIT = 10_000
FILES = {"set/a/1.jpg": b"first", "set/a/2.jpg": b"", "set/b/1.jpg": bytes(5000)}


def tar(path: Path, files: dict[str, bytes], mode: str = "w:gz", **odd: object) -> Path:
    """An archive of files, and of one odd member where its fields are given."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        if odd:
            member = tarfile.TarInfo(str(odd.pop("name", "set/odd")))
            for field, value in odd.items():
                setattr(member, field, value)
            archive.addfile(member)
    return path


def zipped(path: Path, files: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def everything(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir() and p.name != "lock"}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_sound_archives(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"set.{kind}"
    if kind == "zip":
        zipped(path, FILES | {"set/empty/": b""})
    else:
        tar(path, FILES, f"w:{kind[4:]}", name="set/empty", type=tarfile.DIRTYPE)
    target = tmp_path / "out" / "set"
    with working_in(tmp_path / "out"), whole(target) as folder:
        assert unpack(path, folder, LIMIT, lambda name: name.removeprefix("set/")) == 3
        assert not target.exists()
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*.jpg")} == {
        name.removeprefix("set/"): data for name, data in FILES.items()
    }


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    path = tar(tmp_path / "set.tar", FILES, "w")
    (tmp_path / "out").mkdir()
    assert unpack(path, tmp_path / "out", LIMIT, lambda name: "x" if name == "set/a/1.jpg" else None) == 1
    assert everything(tmp_path / "out") == {"x"}


def raw_size(path: Path, size: int) -> None:
    """Let the first header of a plain tar declare another size."""
    data = bytearray(path.read_bytes())
    data[124:136] = f"{size:011o}\0".encode()
    data[148:156] = b"        "
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path.write_bytes(data)


def declared_large(path: Path) -> Path:
    raw_size(tar(path, {"set/a.jpg": b"small"}, "w"), 2 * LIMIT)
    return path


def truncated(path: Path) -> Path:
    tar(path, {"set/a.jpg": os.urandom(5000)})
    path.write_bytes(path.read_bytes()[:2000])
    return path


def damaged(path: Path) -> Path:
    zipped(path, {"set/a.jpg": b"photograph" * 50})
    data = bytearray(path.read_bytes())
    data[50] ^= 0xFF
    path.write_bytes(data)
    return path


def lying_zip(path: Path) -> Path:
    """Both headers say 5 bytes; 5,000 come out."""
    zipped(path, {"set/a.jpg": bytes(5000)})
    data = path.read_bytes().replace((5000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    path.write_bytes(data)
    return path


def encrypted(path: Path) -> Path:
    zipped(path, {"set/a.jpg": b"secret"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    return path


def pax(archive: Path, /, data: bytes = b"", **fields: str) -> Path:
    """A tar whose first member has these fields in a pax header, "_" for "."."""
    member = tarfile.TarInfo("set/a.jpg")
    member.size = len(data)
    member.pax_headers = {name.replace("_", "."): value for name, value in fields.items()}
    archive.write_bytes(member.tobuf(tarfile.PAX_FORMAT) + data.ljust(512 * bool(data), b"\0") + bytes(1024))
    return archive


def long_headers(path: Path, kind: bytes, size: int, count: int = 1) -> Path:
    """`count` headers of `size` bytes before the first member."""
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, size
    one = header.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(size, b"\0")
    path.write_bytes(gzip.compress(count * one + tarfile.TarInfo("set/a.jpg").tobuf() + bytes(1024)))
    return path


MAX_HEADER = 4000
HEADERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "long name": (lambda p: long_headers(p, tarfile.GNUTYPE_LONGNAME, 4096), "a header of 4608 bytes"),
    "long link": (lambda p: long_headers(p, tarfile.GNUTYPE_LONGLINK, 4096), "a header of"),
    "long pax": (lambda p: pax(p, comment="a" * 4096), "a header of"),
    "many long names": (lambda p: long_headers(p, tarfile.GNUTYPE_LONGNAME, 512, 5), "expected a"),
    "sparse map": (lambda p: pax(p, GNU_sparse_map="0,0"), "a sparse file"),
    "sparse 1.0": (lambda p: pax(p, b"0\n", GNU_sparse_major="1", GNU_sparse_minor="0"), "a sparse file"),
    "sparse 0.0": (lambda p: pax(p, GNU_sparse_size="1"), "a sparse file"),
    "old sparse": (lambda p: tar(p, {}, type=tarfile.GNUTYPE_SPARSE), "a sparse file"),
    "NUL in a path": (lambda p: pax(p, path="set/a\0b"), "a name with a NUL"),
    "below nothing": (lambda p: pax(p, size="-1"), "a size of -1 bytes"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_no_photographs_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Refused by both readers, which name the archive."""
    monkeypatch.setattr(files, "MAX_HEADER", MAX_HEADER)
    make, message = HEADERS[kind]
    archive = make(tmp_path / "in.archive")
    (tmp_path / "out").mkdir()
    for read in (lambda: unpack(archive, tmp_path / "out", LIMIT), lambda: list(files.read_files(archive, bool))):
        with pytest.raises(ValueError, match=r"in\.archive: ") as error:
            read()
        assert message in str(error.value)
    assert everything(tmp_path) == {"in.archive"}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(tmp_path: Path, form: Literal[1, 2]) -> None:
    name = "/".join(["set", *["long" * 20] * 9, "a.jpg"])
    (tmp_path / "in.tar").write_bytes(tarfile.TarInfo(name).tobuf(form) + bytes(1024))
    assert [file.path for file in files.read_files(tmp_path / "in.tar", bool)] == [name]
    assert unpack(tmp_path / "in.tar", tmp_path / "out", LIMIT) == 1
    assert everything(tmp_path / "out") == {name}


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "up": (lambda p: tar(p, {"../out": b"x"}), "'../out'"),
    "up, deep": (lambda p: tar(p, {"set/../../out": b"x"}), "set/../../out"),
    "absolute": (lambda p: tar(p, {f"{p.parent}/out": b"x"}), "expected names that stay inside"),
    "backslash": (lambda p: tar(p, {"set\\..\\out": b"x"}), "expected names that stay inside"),
    "drive": (lambda p: tar(p, {"C:/out": b"x"}), "expected names that stay inside"),
    "symlink out": (lambda p: tar(p, FILES, type=tarfile.SYMTYPE, linkname="../../out"), "'set/odd': found a link"),
    "symlink in": (lambda p: tar(p, FILES, type=tarfile.SYMTYPE, linkname="a"), "'set/odd': found a link"),
    "hard link": (lambda p: tar(p, FILES, type=tarfile.LNKTYPE, linkname="set/a/1.jpg"), "'set/odd': found a link"),
    "device": (lambda p: tar(p, FILES, type=tarfile.CHRTYPE, devmajor=1, devminor=3), "found a link or device"),
    "folder up": (lambda p: tar(p, FILES, name="../up", type=tarfile.DIRTYPE), "outside"),
    "too large": (lambda p: tar(p, {"a": bytes(6000), "b": bytes(6000)}), "'b': found 12,000 bytes up to here"),
    "declared too large": (declared_large, "expected 10,000 at most"),
    "twice": (lambda p: tar(p, {"set/a": b"x", "set/./a": b"y"}), "comes twice"),
    "file and folder": (lambda p: tar(p, {"set/a": b"x", "set/a/b": b"y"}), "comes twice"),
    "truncated": (truncated, "expected a sound archive"),
    "no archive": (lambda p: (p.write_bytes(b"<html>busy</html>" * 99), p)[1], "expected a sound archive"),
    "empty": (lambda p: (p.write_bytes(b""), p)[1], "expected a sound archive"),
    "zip up": (lambda p: zipped(p, {"../out": b"x"}), "'../out'"),
    "zip absolute": (lambda p: zipped(p, {f"{p.parent}/out": b"x"}), "expected names that stay inside"),
    "zip backslash": (lambda p: zipped(p, {"..\\out": b"x"}), "expected names that stay inside"),
    "zip symlink": (lambda p: zipped(p, {"set/odd": b"a"}, stat.S_IFLNK | 0o777), "'set/odd': found a link"),
    "zip too large": (lambda p: zipped(p, {"a": bytes(6000), "b": bytes(6000)}), "'b': found 12,000 bytes up to here"),
    "zip damaged": (damaged, "expected a sound archive"),
    "zip that says less": (lying_zip, "expected"),
    "zip encrypted": (encrypted, "expected a sound archive"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_archives_that_are_refused(tmp_path: Path, kind: str) -> None:
    make, message = REFUSED[kind]
    archive = make(tmp_path / "in.archive")
    with working_in(tmp_path / "deep" / "out") as out:
        with pytest.raises(ValueError, match=r"in\.archive") as error, whole(out / "set") as folder:
            unpack(archive, folder, LIMIT)
        assert message in str(error.value)
        assert not any(out.rglob("set"))
    assert everything(tmp_path) == {"in.archive"}


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_random_damage_is_told_and_stays_inside(tmp_path: Path, kind: str) -> None:
    """Whatever bit is wrong: a sound archive of other contents, or a ValueError; and nothing outside the folder."""
    path = tmp_path / "in.archive"
    rng, messages = random.Random(7), list[str]()
    files = FILES | {"set/noise": random.Random(1).randbytes(3000)}
    whole_one = (zipped(path, files) if kind == "zip" else tar(path, files, f"w:{kind[4:]}")).read_bytes()
    for trial in range(60):
        data = bytearray(whole_one)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randint(1, len(data))] if trial % 3 == 0 else data)
        out = tmp_path / "deep" / f"{kind}{trial}"
        out.mkdir(parents=True)
        try:
            unpack(path, out, LIMIT)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 5  # a plain tar has no checksum of its contents
    assert all("in.archive" in message for message in messages)
    assert {p.name for p in tmp_path.iterdir()} == {"in.archive", "deep"}
    assert len(list((tmp_path / "deep").iterdir())) == 60


def test_a_zip_with_a_hidden_nul_in_a_name(tmp_path: Path) -> None:
    """Python cuts such a name at the NUL; what the archive says is what is judged."""
    path = zipped(tmp_path / "in.archive", {"set/aXb.jpg": b"x"})
    path.write_bytes(path.read_bytes().replace(b"aXb", b"a\0b"))
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="expected names that stay inside"):
        unpack(path, tmp_path / "out", LIMIT)


def half(folder: Path) -> None:
    (folder / "half").write_text("")
    (folder / "missing").read_bytes()


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    with working_in(tmp_path):
        with pytest.raises(FileNotFoundError), whole(tmp_path / "set") as folder:
            half(folder)
        assert everything(tmp_path) == set()
        (tmp_path / "set").mkdir()
        with pytest.raises(Stop, match="is there already, but is not complete"), whole(tmp_path / "set"):
            pass


def test_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".fetch" / "set" / "a").mkdir(parents=True)
    (tmp_path / ".fetch" / "set" / "a" / "1.jpg").write_text("half")
    (tmp_path / ".fetch" / "tmpabc").write_text("")
    (tmp_path / ".fetch" / "set.tgz.part").write_text("kept")
    with working_in(tmp_path):
        assert everything(tmp_path) == {".fetch/set.tgz.part"}


def test_write_leaves_the_old_file_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "a.txt"
    write(path, b"old")

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write(path, b"new")
    assert path.read_bytes() == b"old"
    assert everything(tmp_path) == {"deep/a.txt"}
