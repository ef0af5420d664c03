"""Grids of runs that take hours: each cell once, and whatever is finished stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

Cell = tuple[Any, ...]  # arguments of the work


def complete(
    cells: Mapping[str, Cell],
    work: Callable[..., Any],
    store: Callable[[str, Any], None],
    *,
    there: Container[str] = (),
    jobs: int = 1,
    start: tuple[Callable[..., None], Cell] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Do the work of each cell whose name is not `there` yet, and `store(name, result)` at once when it is done.

    jobs: processes at a time; with one, the work is done here, in the order of the cells. Otherwise `work` and results
    must be picklable, and `start`, a function and its arguments, runs first in each process.
    An error begins no more cells; what other processes are at is still stored, then the error is raised.
    """
    if jobs < 1:
        raise ValueError(f"jobs: {jobs}; expected 1 or more")
    missing = {name: cell for name, cell in cells.items() if name not in there}
    done = len(cells) - len(missing)
    if done and missing:
        say(f"{len(cells)} runs, {done} of them done")
    for name, (result, seconds) in (_here if jobs == 1 else _elsewhere)(missing, work, jobs, start):
        store(name, result)
        done += 1
        say(f"[{done}/{len(cells)}] {name}  {seconds:.1f} s")


Outcome = tuple[str, tuple[Any, float]]


def _here(cells: Mapping[str, Cell], work: Callable[..., Any], jobs: int, start: Any) -> Iterator[Outcome]:
    return ((name, _timed(work, cell)) for name, cell in cells.items())


def _elsewhere(cells: Mapping[str, Cell], work: Callable[..., Any], jobs: int, start: Any) -> Iterator[Outcome]:
    first, failed = start or (None, ()), None
    with ProcessPoolExecutor(jobs, get_context("spawn"), *first) as pool:
        futures = {pool.submit(_timed, work, cell): name for name, cell in cells.items()}
        try:
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                if error := future.exception():
                    failed = failed or error
                    for other in futures:
                        other.cancel()
                else:
                    yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    if failed:
        raise failed


def _timed(work: Callable[..., Any], cell: Cell) -> tuple[Any, float]:
    began = time.perf_counter()
    return work(*cell), time.perf_counter() - began
