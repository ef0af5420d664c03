"""The full runs behind the claims: every setting and seed of a chapter's experiment, into one table.

    python tools/results.py 12_arcface [--jobs 2]      # or just 12; all experiments where none is named
    python tools/results.py --fresh 12                 # forget what there is and begin again

An experiment is a module `course/experiments/<stem>.py` with

    CHAPTER = "12_arcface"
    SETTINGS = {...}                     # plain JSON values that define the whole experiment
    def grid(): ...                      # (setting, seed) pairs of the full run; a setting is a dict
    def run(setting, seed): ...          # dict of measured numbers, or a list of such dicts (one per epoch, say)

Each finished pair goes at once into `course/results/12_arcface.partial.jsonl`, so that a run that was killed goes on
where it stopped. When all are there, `course/results/12_arcface.csv` is written whole: one row per pair (per dict), in
the order of the grid, with the setting's fields, seed, the numbers, settings_hash, device, torch and seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tools.chapters import Failed, chosen, reports

if TYPE_CHECKING:
    import pandas as pd

    from facelearn.grid import Cell

ROOT = Path(__file__).resolve().parents[1]

# Set before torch is imported: one thread a process, and the experiment at its full size.
ENVIRONMENT = {"FACELEARN_BUDGET": "full", "FACELEARN_PROGRESS": "0"} | dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
OWN_COLUMNS = ("seed", "settings_hash", "device", "torch", "seconds")
Row = dict[str, Any]


# ---- experiments ----------------------------------------------------------------------------------------------------


def chapters_with_experiments(course: Path) -> dict[str, Path]:
    """`{"12_arcface": .../experiments/arcface.py}`: modules that name their chapter, found without importing them."""
    found = {}
    for file in sorted((course / "experiments").glob("[a-z]*.py")):
        if match := re.search(r"^CHAPTER\b[^=\n]*=\s*[\"'](\d\d_\w+)[\"']", file.read_text(encoding="utf-8"), re.M):
            if match[1] != f"{match[1][:2]}_{file.stem}":
                raise Failed(f"{file}: CHAPTER is {match[1]!r}, expected NN_{file.stem}")
            found[match[1]] = file
    return dict(sorted(found.items()))


def load(course: Path, name: str) -> ModuleType:
    """Import the experiment of a chapter, or one named by its stem, as notebooks do: as `experiments.<stem>`."""
    if str(course) not in sys.path:
        sys.path.insert(0, str(course))
    return importlib.import_module(f"experiments.{name.lstrip('0123456789_')}")


def plan(experiment: ModuleType, name: str) -> list[tuple[Row, int]]:
    """The grid as a list, after the checks that cost nothing: better now than after an hour."""
    for needed in ("SETTINGS", "grid", "run"):
        if not hasattr(experiment, needed):
            raise Failed(f"{name}: experiments/{name[3:]}.py has no {needed}")
    pairs = [(dict(setting), int(seed)) for setting, seed in experiment.grid()]
    if not pairs:
        raise Failed(f"{name}: grid() is empty")
    keys = [_words(*pair) for pair in pairs]
    if len(set(keys)) < len(keys):
        raise Failed(f"{name}: grid() names a setting and seed twice: {next(k for k in keys if keys.count(k) > 1)}")
    if taken := {field for setting, _ in pairs for field in setting} & set(OWN_COLUMNS):
        raise Failed(f"{name}: a setting may not have the fields {', '.join(sorted(taken))}: they are columns already")
    return pairs


# ---- one row at a time ----------------------------------------------------------------------------------------------


def measure(course: Path, name: str, setting: Row, seed: int) -> list[Row]:
    """Run one setting with one seed, in the process it is called in, and return its rows."""
    import torch

    from facelearn import lesson

    torch.set_num_threads(1)
    experiment = load(course, name)
    extra = {"budget": "full"} if "budget" in inspect.signature(experiment.run).parameters else {}
    start = time.perf_counter()
    try:
        measured = experiment.run(dict(setting), seed, **extra)
    except Exception as error:
        where = f"{name}: {_words(setting, seed)}: {type(error).__name__}: {error}"
        raise Failed(f"{where}\nfinished rows are kept; the same command goes on from them") from error
    seconds = round(time.perf_counter() - start, 2)
    device = lesson.device()
    own = {
        "settings_hash": lesson.settings_hash(experiment.SETTINGS),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "seconds": seconds,
    }
    rows = []
    for numbers in measured if isinstance(measured, list) else [measured]:
        if not isinstance(numbers, dict) or not numbers:
            raise Failed(f"{name}: run() returned {numbers!r}: expected a dict of measured numbers")
        if taken := set(numbers) & {*setting, *OWN_COLUMNS}:
            raise Failed(f"{name}: run() returned {', '.join(sorted(taken))}: these are columns already")
        rows.append({**_plain(setting), "seed": seed, **_plain(numbers), **own})
    return rows


def _plain(values: Row) -> Row:
    """Numbers of numpy and torch as Python's, lists and dicts as JSON text: what a table cell can hold."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
    return {
        name: json.dumps(v, sort_keys=True) if isinstance(v, (list, tuple, dict)) else v for name, v in plain.items()
    }


class Partial:
    """The rows finished so far, one JSON line for each pair, kept on disk from the moment they are there.

    Each line carries the version of the experiment that measured it (settings and code); rows of another
    version are left alone but not used, so that going back to that version finds them again.
    """

    def __init__(self, path: Path, version: str) -> None:
        self.path, self.version = path, version
        self.rows: dict[str, list[Row]] = {}
        self.other = 0
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that was being written when the run was killed
            if entry["version"] == version:
                self.rows[entry["key"]] = entry["rows"]
            else:
                self.other += 1

    def add(self, key: str, rows: list[Row]) -> None:
        self.rows[key] = rows
        before = self.path.read_bytes() if self.path.is_file() else b""
        torn = before != b"" and not before.endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" * torn + json.dumps({"version": self.version, "key": key, "rows": rows}) + "\n")
            file.flush()
            os.fsync(file.fileno())


# ---- the whole run --------------------------------------------------------------------------------------------------


def full_run(course: Path, name: str, jobs: int = 2, fresh: bool = False) -> Path:
    """Measure what is missing of a chapter's grid and write its table. Returns the table's path."""
    import pandas as pd

    from facelearn.files import write_whole
    from facelearn.grid import complete
    from facelearn.lesson import settings_hash

    experiment = load(course, name)
    pairs = plan(experiment, name)
    table = course / "results" / f"{name}.csv"
    table.parent.mkdir(exist_ok=True)
    partial_file = table.with_suffix(".partial.jsonl")
    if fresh:
        partial_file.unlink(missing_ok=True)
    elif is_current(table, pairs, settings_hash(experiment.SETTINGS)):
        print(f"{name}: {table.name} is up to date (--fresh repeats the run)")
        return table
    source = b"".join(file.read_bytes() for file in sorted((course / "experiments").glob("*.py")))  # they share code
    version = f"{settings_hash(experiment.SETTINGS)}-{hashlib.sha256(source).hexdigest()[:12]}"
    partial = Partial(partial_file, version)
    if partial.other:
        print(f"{name}: {partial.other} more were made by another version of the experiment and do not count")
    cells = {_words(*pair): (course, name, *pair) for pair in pairs}
    complete(cells, measure, partial.add, there=partial.rows, jobs=jobs)
    frame = pd.DataFrame([row for pair in pairs for row in partial.rows[_words(*pair)]])
    own = list(OWN_COLUMNS[1:])
    frame = frame[[*(column for column in frame if column not in own), *own]]
    write_whole(table, frame.to_csv(index=False, lineterminator="\n").encode())
    partial_file.unlink(missing_ok=True)
    print(f"{name}: wrote {table}")
    return table


def is_current(table: Path, pairs: list[tuple[Row, int]], expected_hash: str) -> bool:
    """Was the table made with these settings, and has it a row for every pair?

    Where a run gives several rows, another seed of the same setting gives as many: so a table cut short is found out.
    """
    import pandas as pd

    if not table.is_file() or not table.read_bytes().endswith(b"\n"):
        return False
    text = pd.DataFrame([{**_plain(setting), "seed": seed} for setting, seed in pairs]).to_csv(index=False)
    wanted = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    stored = pd.read_csv(table, dtype=str, keep_default_na=False)
    if not {*wanted, "settings_hash"} <= set(stored) or set(stored["settings_hash"]) != {expected_hash}:
        return False
    counts = stored.value_counts(subset=list(wanted))
    if set(counts.index) != set(wanted.itertuples(index=False, name=None)):
        return False
    return bool((counts.groupby(level=list(wanted.columns.drop("seed"))).nunique() == 1).all())


def _words(setting: Row, seed: int) -> str:
    return " ".join([*(f"{name}={value}" for name, value in setting.items()), f"seed={seed}"])


def fill(
    table: Path,
    cells: Mapping[tuple[Any, ...], Cell],
    columns: Sequence[str],
    work: Callable[..., Row],
    current: Callable[[Row], bool],
    jobs: int = 1,
) -> None:
    """Another kind of table: one row for each cell, by its values in `columns`; it grows from one call to the next.

    What it does not have yet is run, and the table is written whole after every run. Rows that are not `current`, or
    that no cell asks for any more, are left out.
    """
    import pandas as pd

    from facelearn.files import write_whole
    from facelearn.grid import complete

    rows: dict[tuple[Any, ...], Row] = {}
    for stored in read(table, columns).to_dict("records") if table.is_file() else []:
        row = {str(name): value for name, value in stored.items()}
        if current(row):
            rows[tuple(row[name] for name in columns)] = row
    table.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        frame = pd.DataFrame([rows[key] for key in cells if key in rows])
        write_whole(table, frame.to_csv(index=False, lineterminator="\n"))

    if set(rows) - set(cells):
        write()

    def store(_: str, row: Row) -> None:
        rows[tuple(row[name] for name in columns)] = row
        write()

    named = {" ".join(map(str, key)): cell for key, cell in cells.items()}
    complete(named, work, store, there={" ".join(map(str, key)) for key in rows}, jobs=jobs)


def read(table: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table that `fill` has written. `Failed` where it is no table of runs."""
    import pandas as pd

    stored = pd.read_csv(table, dtype={"settings_hash": str})
    if missing := [name for name in (*columns, "settings_hash") if name not in stored]:
        raise Failed(f"{table.name}: found no column {', '.join(missing)}, expected a table that this tool wrote")
    return stored


@reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run a chapter's whole experiment and store its table.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all experiments where none is named")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--fresh", action="store_true", help="begin again, also where the table is up to date")
    parser.add_argument("--course", type=Path, default=ROOT / "course", help="folder of the course")
    args = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    course = args.course.resolve()
    try:
        for name in chosen(args.names, list(chapters_with_experiments(course))):
            full_run(course, name, args.jobs, args.fresh)
    except KeyboardInterrupt:
        print("stopped; finished rows are kept, the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
