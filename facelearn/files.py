"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

RUNS = Path("runs")


@contextmanager
def whole(path: str | os.PathLike[str], *, alone: bool = False, sync: bool = False) -> Iterator[BinaryIO]:
    """A new file, open for writing, that takes the place of `path` at the end; after an error nothing has changed.

    Until then it stands beside `path` under a hidden name, a new one each time: two writers do not disturb each other.
    alone: there is but one writer; the hidden name is always the same, and what a killed process left is overwritten.
    sync: it is on the disk before it takes its place, also should the power fail.
    """
    path = Path(path)
    if alone:
        beside = path.with_name(f".{path.name}.part")
        file: BinaryIO = beside.open("wb")
    else:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.chmod(name, 0o644)  # mkstemp makes files private
        beside, file = Path(name), os.fdopen(handle, "wb")
    try:
        with file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_whole(path: str | os.PathLike[str], content: bytes | str, *, alone: bool = False, sync: bool = False) -> None:
    """Write bytes, or text as UTF-8, whole or not at all, see `whole`."""
    with whole(path, alone=alone, sync=sync) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write plain values and numbers of numpy and torch as JSON to be read, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2, default=float) + "\n")


def check_writable(path: str | os.PathLike[str], what: str) -> None:
    """OSError names `what` where a file cannot be written, or its folder is not there: before hours of work."""
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "is a folder")
        tempfile.TemporaryFile(dir=path.parent).close()
    except FileNotFoundError:
        raise FileNotFoundError(f"{what}={path}: found no folder {path.parent}, expected it to be there") from None
    except OSError as error:
        raise OSError(error.errno, f"{what}: cannot be written ({error.strerror})", str(path)) from error


def check_folder(folder: str | os.PathLike[str], what: str) -> None:
    """OSError names `what` where a folder can be neither written into nor made. A result's own folder is made, so is
    `runs`, where examples have their runs; another one that is to hold it must be there, or it is misspelt.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{what}={folder}: found a file, expected a folder")
    if folder.exists():
        check_writable(folder / "new", what)
    else:
        check_writable(RUNS if folder.parent == RUNS and not RUNS.exists() else folder, what)
