"""How the benchmarks beside this file measure; it has nothing to run itself.

Time: all contenders in one process, their order shuffled in every round, one thread. Both clocks are kept: wall time,
and process time, which other programs on the machine disturb less. A ratio is taken within its round; shown are the
median of the ratios, their quartiles, and the ratio of the quickest steps of both (min/min). Where that and the median
disagree by more than a fifth, the rounds were disturbed and the row is marked *.

Memory: a fresh process for each contender. Warmed up on something tiny, then the peak counter is reset, and the peak of
what is resident during the steps is compared with what was resident before, inputs included.

On a GPU, times are those of CUDA events and peaks those of the allocator.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MEGABYTE = 2**20

Step = Callable[[], object]
K = TypeVar("K")


class Times(NamedTuple):
    wall: list[float]  # seconds, one a round
    process: list[float]


class Ratio(NamedTuple):
    median: float
    low: float  # quartiles
    high: float
    least: float  # min / min

    def __str__(self) -> str:
        mark = "*" if abs(self.median - self.least) > 0.2 * self.least else ""
        return f"{self.median:.2f}{mark} [{self.low:.2f}, {self.high:.2f}] ({self.least:.2f})"


def place() -> str:
    """Where and with what the figures were taken."""
    if DEVICE.type == "cuda":
        device = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        device = f"{names[0] if names else platform.processor()}, 1 thread of {os.cpu_count()} cores"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{date.today()}, {device}, {versions}, load {os.getloadavg()[0]:.1f}"


def once(step: Step) -> tuple[float, float]:
    """Wall and process time of one step, seconds."""
    if DEVICE.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3, start.elapsed_time(end) / 1e3
    wall, process = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - process


def race(steps: Mapping[K, Step], rounds: int) -> dict[K, Times]:
    for step in steps.values():
        step()
    times = {name: Times([], []) for name in steps}
    for _ in range(rounds):
        for name in random.sample(list(steps), len(steps)):
            wall, process = once(steps[name])
            times[name].wall.append(wall)
            times[name].process.append(process)
    return times


def ratio(a: list[float], b: list[float]) -> Ratio:
    each = [x / y for x, y in zip(a, b, strict=True)]
    low, middle, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
    return Ratio(middle, low, high, min(a) / min(b))


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A Markdown table, first column to the left."""
    head = list(head)
    print("| " + " | ".join(head) + " |")
    print("|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print(flush=True)


def before_and_after(pairs: Mapping[str, tuple[Step, Step]], rounds: int) -> None:
    """The time of each pair (after, before) as a ratio; a row as soon as it is known, so that any part may be run."""
    print(f"{place()}, {rounds} rounds\n")

    def rows() -> Iterator[tuple[object, ...]]:
        for name, (after, before) in pairs.items():
            times = race({"after": after, "before": before}, rounds)
            now, then = times["after"].process, times["before"].process
            yield name, ratio(now, then), f"{1e3 * min(now):.1f}", f"{1e3 * min(then):.1f}"

    table(["", "after / before, process time: median [quartiles] (min/min)", "after, ms", "before, ms"], rows())


def of_checkout(folder: str, module: str) -> ModuleType:
    """A module of `facelearn` in another checkout, beside the one that is imported."""
    here = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "facelearn"}
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.split(".")[0] == "facelearn"]:
            del sys.modules[name]
        sys.modules.update(here)


def keep_freed_memory() -> None:
    """Tell glibc not to hand freed memory back to the system, as a caching allocator would not.

    By default a large tensor is mapped afresh each time and every page of it is faulted in again.
    """
    libc = ctypes.CDLL("libc.so.6")
    for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        if not libc.mallopt(option, 2**31 - 1):
            raise OSError("mallopt refused: this needs glibc")


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, bytes (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return 1024 * int(line.split()[1])


def peaks(step: Step, steps: int) -> list[int]:
    """After each step, the highest so far of what is held beyond what was held before, bytes."""
    if DEVICE.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    highest = []
    for _ in range(steps):
        step()
        now = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else resident("VmHWM")
        highest.append(now - before)
    return highest


def fresh(script: str, *arguments: object) -> list[int]:
    """The numbers that a fresh process prints last."""
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=3600
    )
    if done.returncode:
        raise RuntimeError(f"{script} {arguments}: {done.stderr[-2000:]}")
    return [int(word) for word in done.stdout.splitlines()[-1].split()]
