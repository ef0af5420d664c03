"""What the scripts of this folder share: download, unpack, and write a folder whole or not at all.

pooch checks hashes and moves a file into place only when it is right; what it does not do is go on where a broken
download stopped. `Resume` is a pooch downloader that does, by HTTP `Range`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import logging
import lzma
import os
import shutil
import stat
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import filelock
import pooch
import requests
import urllib3
from tqdm import tqdm

from facelearn.files import write_whole

T = TypeVar("T")
WORK = ".fetch"  # hidden folder for what is not finished: the lock, *.part, folders being unpacked
TRIES = 3  # attempts in a row without a new byte, after which the next address is asked
CONNECTIONS = 100  # attempts in all at one address
SLOWEST = 1000  # bytes per second, on average over `timeout`: a server that only drips counts as silent
BLOCK = 1 << 16
DAY = 24 * 60 * 60

logging.getLogger("pooch").setLevel(logging.ERROR)
pooch.get_logger().setLevel(logging.ERROR)


class Stop(Exception):
    """The script cannot go on; the message is for people."""


class Refused(requests.RequestException):
    """An answer that asking again will not mend."""


HOPELESS = (Refused, requests.TooManyRedirects, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)


@dataclass(frozen=True)
class File:
    """One published file: where it is to be had, and how to know that it is the right one.

    ``known_hash`` is "sha256:..." or "md5:...", as the publisher (or a library that pins it) gives it; None where the
    caller knows the contents instead. ``size`` in bytes, where known, lets a wrong answer be refused before it is
    downloaded; otherwise ``limit`` bounds it.
    """

    name: str
    urls: tuple[str, ...]
    known_hash: str | None
    size: int | None = None
    limit: int = 16 << 20


# ---- the five steps of a script: arguments, folder, fetch, unpack or convert, report


def arguments(doc: str | None, name: str | None, mirrors: bool = True) -> argparse.ArgumentParser:
    """A parser whose ``--help`` is the docstring of the script, with the options that all scripts share.

    ``name``: of the folder that things go to by default, in ``$FACELEARN_DATA``, else in ``data``.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = Path(os.environ.get("FACELEARN_DATA") or "data")
    told = "where it goes" + (" (default: %(default)s)" if name else "")
    parser.add_argument("--to", type=Path, default=home / name if name else None, metavar="FOLDER", help=told)
    if mirrors:
        parser.add_argument(
            "--from",
            dest="sources",
            action="append",
            default=[],
            metavar="SOURCE",
            help="a folder, file or address to take the files from, instead of the usual addresses; may be repeated",
        )
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=30.0,
            metavar="S",
            help="seconds of silence before giving up (default: %(default)g)",
        )
    return parser


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= DAY:
        raise argparse.ArgumentTypeError(f"found {text}, expected more than 0 and at most {DAY} seconds")
    return value


def run(main: Callable[[], None]) -> None:
    """Run a script: what went wrong is one message on stderr, and the exit status is 1 (130 when interrupted)."""
    try:
        main()
    except KeyboardInterrupt:
        print("\nInterrupted. What was done is kept: run the same command again to go on.", file=sys.stderr)
        sys.exit(130)
    except (Stop, ValueError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


def progress(items: Iterable[T], what: str) -> Iterable[T]:
    """The items, with a bar on a terminal."""
    return tqdm(items, what, unit=" images", disable=None, leave=False)


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[Path]:
    """Make ``folder``, and keep other processes out of it until done: the second waits for the first."""
    work = folder / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(work / "lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            print(f"Another process works in {folder}: waiting for it", flush=True)
            lock.acquire()
    except OSError as error:
        raise Stop(f"cannot write to {folder} ({error.strerror}); choose another folder with --to") from error
    with lock:
        for path in work.iterdir():  # what a killed process left; *.part is what `Resume` goes on from
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock" and path.suffix != ".part":
                path.unlink()
        yield folder


# ---- fetch


def fetch(file: File, folder: Path, sources: Sequence[str] = (), timeout: float = 30.0) -> Path:
    """``folder / file.name``, fetched from the first address that gives the right bytes; nothing where it is there.

    A file without a known hash does not get that far: it stays in the working folder until the next run.
    """
    target = folder / file.name
    if target.is_file() and file.known_hash:
        if matches(target, file.known_hash):
            print(f"{file.name}: already there, and the published file")
            return target
        print(f"{file.name}: is there, but is not the published file; fetching it again")
    problems = []
    for address in [_address(source, file.name) for source in sources] or file.urls:
        try:
            got = _retrieve(address, file, folder / WORK, timeout)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, FileNotFoundError) as error:
            problems.append(f"  {address}: {_reason(error)}")
            print(problems[-1], flush=True)
            continue
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise Stop(f"{folder}: no room for {file.name} ({error.strerror}); what came so far is kept") from error
        size = os.path.getsize(got)
        if not file.known_hash:
            print(f"{file.name}: fetched, {size:,} bytes")
            return Path(got)
        os.replace(got, target)
        print(f"{file.name}: fetched, {size:,} bytes, {file.known_hash.partition(':')[0]} as published")
        return target
    raise Stop(
        "\n".join([f"no address gave {file.name} ({file.known_hash or 'any'}):", *problems])
        + "\nTry again later (it goes on where it stopped), or bring the file yourself and name its folder with --from"
    )


def matches(path: Path, known_hash: str) -> bool:
    algorithm, _, digest = known_hash.partition(":")
    return bool(pooch.file_hash(str(path), alg=algorithm) == digest.lower())


def _address(source: str, name: str) -> str:
    """The file ``name`` at a source: a folder, an address that ends like one, or the file itself."""
    if "://" in source:
        return source if source.endswith(f"/{name}") else f"{source.rstrip('/')}/{name}"
    path = Path(source).expanduser()
    return str(path / name if path.is_dir() else path)


def _reason(error: Exception) -> str:
    if "does not match the known hash" in str(error):  # as pooch says it
        return "not the published file (wrong hash)"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return str(error) or type(error).__name__


def _retrieve(address: str, file: File, work: Path, timeout: float) -> str:
    """The checked file in ``work``. pooch moves it there only if its hash is right, and deletes it otherwise."""
    part = work / f"{file.name}.part"
    remote = "://" in address
    if not file.known_hash:  # nothing would tell what came from another address from what belongs here
        (work / file.name).unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    resumed = remote and part.exists()
    for last in (False, True):
        try:
            downloader = Resume(part, file, timeout) if remote else _copy
            return str(pooch.retrieve(address, file.known_hash, file.name, work, downloader=downloader))
        except ValueError:
            # The first bytes came from an earlier run or another mirror, and may be at fault: once more from nothing.
            if last or not resumed:
                raise
    raise AssertionError("not reached")


def _copy(address: str, output_file: str, _: object) -> None:
    shutil.copyfile(address, output_file)


class Resume:
    """A downloader for ``pooch.retrieve`` that keeps what has come in ``part`` and goes on from there.

    A connection that breaks or falls silent is opened again with ``Range: bytes=N-`` as long as that brings new bytes.
    The bytes are stored as the server holds them, never decoded: some servers call a ``.tgz`` "gzip-encoded".
    """

    def __init__(self, part: Path, file: File, timeout: float) -> None:
        self.part, self.file, self.timeout = part, file, timeout

    def __call__(self, url: str, output_file: str, _: object) -> None:
        barren = 0
        for attempt in range(1, CONNECTIONS + 1):
            before = self.have()
            try:
                self.attempt(url)
                break
            except HOPELESS:
                raise
            except (requests.RequestException, urllib3.exceptions.HTTPError):
                barren = 0 if self.have() > before else barren + 1
                if barren == TRIES or attempt == CONNECTIONS:
                    raise
                time.sleep(min(barren, self.timeout / 10))
        os.replace(self.part, output_file)

    def have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def attempt(self, url: str) -> None:
        start, size = self.have(), self.file.size
        if start and start == size:
            return
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=(min(10, self.timeout), self.timeout)) as answer:
            if answer.status_code == 416:  # nothing beyond what is here: let the hash say whether that is all
                return
            if answer.status_code not in (200, 206):
                raise Refused(f"the server says {answer.status_code} {answer.reason}")
            given = answer.headers.get("Content-Range", "")
            if answer.status_code == 206 and not given.startswith(f"bytes {start}-"):
                raise Refused(f"asked for byte {start} and the rest, the server sends {given or 'some others'}")
            self.store(answer, start if answer.status_code == 206 else 0)  # 200: it knows no ranges, all over again

    def store(self, answer: requests.Response, start: int) -> None:
        announced = answer.headers.get("Content-Length", "")
        total = start + int(announced) if announced.isdigit() else None
        if total is not None and self.file.size is not None and total != self.file.size:
            raise Refused(f"the server announces {total:,} bytes, the published file has {self.file.size:,}")
        limit = self.file.size or self.file.limit
        read = getattr(answer.raw, "read1", answer.raw.read)  # read1 (urllib3 >= 2.1) hands over what has come
        count, began = start, time.monotonic()
        with (
            open(self.part, "ab" if start else "wb", buffering=0) as out,
            tqdm(
                total=total, initial=start, unit="B", unit_scale=True, desc=self.file.name, disable=None, leave=False
            ) as bar,
        ):
            while block := read(BLOCK, decode_content=False):
                out.write(block)
                bar.update(len(block))
                count += len(block)
                if count > limit:
                    out.truncate(0)
                    raise Refused(f"the server sends more than {limit:,} bytes")
                elapsed = time.monotonic() - began
                if elapsed > self.timeout and count - start < SLOWEST * elapsed:
                    raise Refused(f"only {count - start:,} bytes in {elapsed:.1f} s")
        if total is not None and count < total:
            raise requests.ConnectionError(f"the connection ended after {count:,} of {total:,} bytes")


# ---- unpack


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """An empty folder that becomes ``target`` if the block ends well, and vanishes otherwise. Within `working_in`."""
    if target.exists():
        raise Stop(f"{target} is there already, but is not complete; move it away and run again")
    partial = target.parent / WORK / target.name
    partial.mkdir()
    try:
        yield partial
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unpack(archive: Path, folder: Path, limit: int, keep: Callable[[str], str | None] = lambda name: name) -> int:
    """Unpack a tar (plain or compressed) or zip archive into the empty ``folder``; the number of files written.

    ``keep`` turns the name in the archive into the path to write (None: leave it out). Whether all is there that should
    be, the caller has to know: a tar that ends between two files looks whole. The whole archive is refused
    (``ValueError``) where a member would land outside the folder, is a link or a device, comes twice, or where all of
    them together are larger than ``limit`` bytes: nobody makes such an archive of photographs by accident.
    """
    total = written = 0
    try:
        for name, size, source in _members(archive, folder):
            check_name(archive, name)
            total += size
            if total > limit:
                raise ValueError(f"{archive}: {name!r}: found {total:,} bytes up to here, expected {limit:,} at most")
            inside = keep(name)
            if inside is None:
                continue
            check_name(archive, inside)
            path = folder / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as out, source() as stream:
                shutil.copyfileobj(stream, out)  # both modules stop at the size that was checked
            written += 1
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(f"{archive}: {error.filename}: comes twice in the archive, expected once") from error
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk; for damaged data gzip and bz2 raise one without a number, zipfile "invalid argument"
        found = str(error).splitlines()[0].rstrip(":") if str(error) else "its end too early"
        raise ValueError(f"{archive}: found {found!r}, expected a sound archive") from error
    return written


DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(NotImplementedError, RuntimeError),  # zipfile: unknown compression, encryption
)
Member = tuple[str, int, Callable[[], IO[bytes]]]


def _members(archive: Path, folder: Path) -> Iterator[Member]:
    """Name, size and contents of every file of the archive, in its order; folders are left out."""
    from facelearn.data.files import open_tar  # here: it takes seconds

    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as pack:
            for info in pack.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(f"{archive}: {info.filename!r}: found a link or device, expected files only")
                if not info.is_dir():
                    yield info.orig_filename, info.file_size, lambda info=info: pack.open(info)  # type: ignore[misc]
        return
    with open_tar(archive) as tar:
        for member in tar:
            if not (member.isreg() or member.isdir()):
                raise ValueError(f"{archive}: {member.name!r}: found a link or device, expected files only")
            tarfile.data_filter(member, str(folder))  # Python's own checks on top of `check_name`
            if member.isreg():
                yield member.name, member.size, lambda member=member: tar.extractfile(member)  # type: ignore[misc]


def check_name(archive: Path, name: str) -> None:
    """ValueError where a name from an archive could lead out of the folder that it is joined to, on any system."""
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or any(c in name for c in "\\:\0"):
        raise ValueError(f"{archive}: found a member named {name!r}, expected names that stay inside the folder")


def record(path: Path) -> dict[str, Any]:
    """What a script wrote down about a folder, as JSON."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: found {error}, expected JSON as this script writes it") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: found {str(found)[:40]}, expected names and values as this script writes them")
    return found


def write_record(path: Path, contents: dict[str, Any]) -> None:
    write(path, (json.dumps(contents, indent=2) + "\n").encode())


def write(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all, and its folder where that is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
