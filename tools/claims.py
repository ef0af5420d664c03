"""The ledger of claims: how sure the course is of each thing it says, and every claim run again with fresh seeds.

    python tools/claims.py [--jobs 2]  # trains what `results/claims.csv` does not have yet, then writes the page
    python tools/claims.py --page      # the page from notebooks and stored tables; trains nothing
    python tools/claims.py --plan      # the minutes that is still to come, chapter by chapter

`course/experiments/claims.py` says what each claim rests on, and by which rule it is judged. Each finished run goes at
once into the table, cheap chapters first, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from tools import claims_page
from tools.chapters import reports, write_whole
from tools.results import ENVIRONMENT, Row, fill, load, read

ROOT = Path(__file__).resolve().parents[1]
KEY = ("chapter", "setting", "seed")
Cell = tuple[str, dict[str, Any], int]  # chapter whose module runs it, setting, seed


def experiment() -> ModuleType:
    return load(ROOT / "course", "claims")


def measure(name: str, setting: dict[str, Any], seed: int, budget: str = "full") -> Row:
    """One row of the table, from one run in the process it is called in."""
    import torch

    from facelearn.lesson import device

    torch.set_num_threads(1)
    claims = experiment()
    start = time.perf_counter()
    numbers = claims.rounded(claims.measure(name, setting, seed, budget))
    return {
        "chapter": name,
        "setting": claims.words(setting),
        "seed": seed,
        "numbers": numbers,
        "settings_hash": hashed(name),
        "device": device().type,
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - start, 2),
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
    }


def hashed(name: str) -> str:
    from facelearn.lesson import settings_hash

    return settings_hash(experiment().MODULES[name].SETTINGS)


def current(row: Row) -> bool:
    """Was it made with the settings that the chapter has now?"""
    return row["chapter"] in experiment().MODULES and row["settings_hash"] == hashed(row["chapter"])


def cost(name: str, setting: dict[str, Any]) -> float:
    """Seconds of such a run, from the chapter's own table."""
    claims = experiment()
    seconds = claims.rows(claims.stored(name), setting)["seconds"]
    return float(seconds.groupby(level=0).max().min())  # the least disturbed


def cells() -> dict[tuple[str, str, int], Cell]:
    """All runs by what the table calls them, cheap chapters first."""
    claims, seconds = experiment(), {}
    for chapter in claims.CLAIMS:
        seconds[chapter] = sum(
            cost(name, one) * len(claims.seeds_of(name, one)) for name, one in claims.wanted(chapter)
        )
    order = sorted(seconds, key=lambda chapter: seconds[chapter])
    return {(name, claims.words(one), seed): (name, one, seed) for name, one, seed in claims.grid(order)}


def plan(table: Path) -> str:
    """Minutes of one core that are still to come, by chapter; from the times in the chapters' own tables."""
    there = set(read(table, KEY)[list(KEY)].itertuples(index=False, name=None)) if table.is_file() else set()
    minutes: dict[str, float] = {}
    for key, (name, one, _) in cells().items():
        minutes[name] = minutes.get(name, 0) + (key not in there) * cost(name, one) / 60
    lines = [f"{name:20s} {value:5.1f}" for name, value in minutes.items()]
    return "\n".join([*lines, f"{'in all':20s} {sum(minutes.values()):5.1f} minutes"])


def date(course: Path) -> None:
    """Write when each chapter's table was made: for one that has changed, when it was committed, or today."""
    path = course / "results" / "dates.csv"
    known = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            known = {row["table"]: row for row in csv.DictReader(file)}
    lines = ["table,sha256,date"]
    for name in experiment().CLAIMS:
        now = claims_page.digest(course, name)
        if name in known and known[name]["sha256"] == now:
            when = known[name]["date"]
        else:
            table = f"course/results/{name}.csv"
            asked = ["git", "log", "-1", "--format=%cs", "--", table]
            changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", table], cwd=ROOT, check=False).returncode
            found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
            when = found if found and not changed else f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
        lines.append(f"{name},{now},{when}")
    write_whole(path, "\n".join(lines) + "\n")


def write_pages(course: Path) -> None:
    """Put the tables into the pages of both languages."""
    date(course)
    for language in claims_page.LANGUAGES:
        page = course / language / "claims.md"
        write_whole(page, claims_page.render(page.read_text(encoding="utf-8"), course, language))


@reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run every claim again, and write the page that says how it stands.")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--page", action="store_true", help="the page from the stored tables, no training")
    parser.add_argument("--plan", action="store_true", help="only say how long what is missing will take")
    args = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    table = ROOT / "course" / "results" / "claims.csv"
    if args.plan:
        print(plan(table))
        return 0
    try:
        if not args.page:
            fill(table, cells(), KEY, measure, current, args.jobs)
    except KeyboardInterrupt:
        print("stopped; finished runs are kept, the same command goes on", file=sys.stderr)
        return 130
    write_pages(ROOT / "course")
    return 0


if __name__ == "__main__":
    sys.exit(main())
