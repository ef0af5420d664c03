"""What is finished stays finished, in one process and in several."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from facelearn.grid import complete

HERE = os.getpid()


def work(folder: Path, number: int) -> tuple[int, int]:
    """The square, and who made it; 3 fails while there is a file `broken`."""
    if number == 3 and (folder / "broken").exists():
        raise ArithmeticError("three")
    return number**2, os.getpid()


def prepare(folder: Path) -> None:
    (folder / f"prepared {os.getpid()}").touch()


def run(folder: Path, kept: dict[str, tuple[int, int]], jobs: int, say: Callable[[str], None] = print) -> None:
    cells = {str(n): (folder, n) for n in range(6)}
    complete(cells, work, kept.__setitem__, there=set(kept), jobs=jobs, start=(prepare, (folder,)), say=say)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_keeps_what_is_finished_and_the_same_call_does_the_rest(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "broken").touch()
    kept: dict[str, tuple[int, int]] = {}
    with pytest.raises(ArithmeticError, match="three"):
        run(tmp_path, kept, jobs)
    assert {"0", "1", "2"} <= set(kept)
    assert "3" not in kept
    if jobs == 1:
        assert list(kept) == ["0", "1", "2"]  # in order, and none was begun after the error
    before, told = dict(kept), []
    (tmp_path / "broken").unlink()
    run(tmp_path, kept, jobs, told.append)
    assert {name: square for name, (square, _) in kept.items()} == {str(n): n**2 for n in range(6)}
    assert {name: kept[name] for name in before} == before
    assert told[0] == f"6 runs, {len(before)} of them done"
    assert sorted(line.split("]")[0] for line in told[1:]) == [f"[{n}/6" for n in range(len(before) + 1, 7)]
    processes = {process for _, process in kept.values()}
    assert (HERE in processes) == (jobs == 1)
    prepared = {int(path.name.split()[1]) for path in tmp_path.glob("prepared *")}
    assert prepared >= processes if jobs > 1 else not prepared
    run(tmp_path, kept, jobs, told.append)
    assert len(told) == 1 + 6 - len(before)  # nothing was left to do


def test_no_process_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs: 0; expected 1 or more"):
        run(tmp_path, {}, 0)
