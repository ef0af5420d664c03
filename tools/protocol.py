"""The synthetic protocol from end to end: search, chosen settings and rates, finals, and the page with the tables.

    python tools/protocol.py [--jobs 2]  # does what is missing and writes what follows from it
    python tools/protocol.py --page      # settings and page from the stored tables; trains nothing

`course/experiments/protocol.py` says what is run. Each finished run goes at once into `search.csv`, `search_rates.csv`,
`protocol.csv` (all at one rate) or `protocol_rates.csv` (each at its own) of `course/results`, so that the same command
goes on where it was stopped; last come the chapters' rows at better rates, `rates.csv` (`course/experiments/rates.py`).
`course/settings.json` and the tables of `course/{en,zh}/protocol.md` are made from these.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tools import protocol_page
from tools.chapters import Failed, reports
from tools.results import ENVIRONMENT, Row, full_run, load, read
from tools.results import fill as fill_table

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
KEY = ("loss", "setting", "split", "seed")
Job = tuple[dict[str, Any], str, int]  # recipe, split, seed


def experiment() -> ModuleType:
    return load(ROOT / "course", "protocol")


# ---- resumable tables -----------------------------------------------------------------------------------------------


def measure(recipe: dict[str, Any], split: str, seed: int, budget: str = "full") -> Row:
    """One row of a table, from one run in the process it is called in."""
    import torch

    from facelearn.lesson import device, settings_hash

    torch.set_num_threads(1)
    protocol = experiment()
    key = (recipe["loss"], protocol.words(recipe), split, seed)
    start = time.perf_counter()
    numbers = protocol.run(recipe, split, seed, budget)
    seconds = round(time.perf_counter() - start, 2)
    where = {"settings_hash": settings_hash(protocol.SETTINGS), "device": device().type, "torch": torch.__version__}
    return {**dict(zip(KEY, key, strict=True)), **numbers, **where, "seconds": seconds}


def fill(table: Path, jobs: Iterable[Job], workers: int = 1, run: Callable[..., Row] = measure) -> None:
    """Run what the table does not have yet; rows of other settings (net, training, data) are left out."""
    from facelearn.lesson import settings_hash

    protocol = experiment()
    current = settings_hash(protocol.SETTINGS)
    cells = {(job[0]["loss"], protocol.words(job[0]), job[1], job[2]): job for job in jobs}
    fill_table(table, cells, KEY, run, lambda row: row["settings_hash"] == current, workers)


def check(table: Path, jobs: Iterable[Job]) -> None:
    """`Failed` where the table has rows of other settings, or that no job asks for."""
    from facelearn.lesson import settings_hash

    protocol = experiment()
    asked = {(recipe["loss"], protocol.words(recipe), split, seed) for recipe, split, seed in jobs}
    stored = read(table, KEY)
    foreign = (stored["settings_hash"] != settings_hash(protocol.SETTINGS)).to_numpy() | [
        tuple(row) not in asked for row in stored[list(KEY)].itertuples(index=False)
    ]
    if foreign.any():
        losses = ", ".join(sorted(set(stored["loss"][foreign])))
        raise Failed(
            f"{table.name}: found {foreign.sum()} rows of other settings ({losses}), expected none: run without --page"
        )


# ---- what follows from the tables -----------------------------------------------------------------------------------


def chosen_settings(search: Path) -> dict[str, Any]:
    """The chosen recipe of each loss. `Failed` while the search is not complete."""
    import pandas as pd

    protocol = experiment()
    chosen = protocol.choose(pd.read_csv(search))
    if missing := [loss for loss in protocol.GRIDS if loss not in chosen]:
        raise Failed(
            f"{search.name}: found no settings of {', '.join(missing)}, expected all: run the search to its end"
        )
    return chosen


def tried(results: Path) -> pd.DataFrame:
    """The search and what there is of the rates: one table."""
    import pandas as pd

    return pd.concat(
        [read(table, KEY) for table in (results / "search.csv", results / "search_rates.csv") if table.is_file()]
    )


def chosen_rates(results: Path, chosen: dict[str, Any]) -> dict[str, Any]:
    """The chosen recipe of each loss with its rate. `Failed` while not all rates were tried."""
    best = experiment().best_rates(chosen, tried(results))
    if missing := [loss for loss in chosen if loss not in best]:
        raise Failed(f"search_rates.csv: found not all rates of {', '.join(missing)}, expected all: run without --page")
    return best


def settings_file(results: Path) -> str:
    """The chosen recipes and rates with where they come from, as JSON. `Failed` while a search is not complete."""
    protocol, search, rates = experiment(), results / "search.csv", results / "search_rates.csv"
    chosen = chosen_settings(search)
    best = chosen_rates(results, chosen)
    note = "made by tools/protocol.py, not by hand; experiments/protocol.py reads and explains it"
    digests = {f"{table.stem}_sha256": hashlib.sha256(table.read_bytes()).hexdigest() for table in (search, rates)}
    own = {"losses": chosen, "rates": {loss: recipe["lr"] for loss, recipe in best.items()}}
    return json.dumps({"note": note, **digests, **protocol.SETTINGS, **own}, indent=2) + "\n"


def write_settings(course: Path) -> dict[str, Any]:
    """Write `settings.json`; returns the chosen recipes, with their rates."""
    from facelearn.files import write_whole

    text = settings_file(course / "results")
    write_whole(course / "settings.json", text.encode())
    made = json.loads(text)
    return {loss: {**recipe, "lr": made["rates"][loss]} for loss, recipe in made["losses"].items()}


def write_pages(course: Path) -> None:
    """Put the tables into the pages of both languages."""
    from facelearn.files import write_whole

    for language in protocol_page.LANGUAGES:
        page = course / language / "protocol.md"
        write_whole(page, protocol_page.render(page.read_text(encoding="utf-8"), course, language).encode())


@reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Search, finals, settings and page of the synthetic protocol.")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--page", action="store_true", help="settings and page from the stored tables, no training")
    parser.add_argument("--course", type=Path, default=ROOT / "course", help="folder of the course")
    args = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    protocol, results = experiment(), args.course / "results"
    search, rates, finals = (results / name for name in ("search.csv", "search_rates.csv", "protocol.csv"))
    own = results / "protocol_rates.csv"
    try:
        if not args.page:
            fill(search, protocol.search(), args.jobs)
        check(search, protocol.search())
        settings = chosen_settings(search)
        if not args.page:
            for _ in range(2):  # the second time what lies one step beyond
                fill(rates, protocol.rates(settings, tried(results)), args.jobs)
        check(rates, protocol.rates(settings, tried(results)))
        chosen = write_settings(args.course)
        for table, recipes in ((finals, settings), (own, chosen)):
            if not args.page:
                fill(table, protocol.finals(recipes), args.jobs)
            if table.is_file():
                check(table, protocol.finals(recipes))
        if not args.page:
            full_run(args.course, "rates", args.jobs)
    except KeyboardInterrupt:
        print("stopped; finished runs are kept, the same command goes on", file=sys.stderr)
        return 130
    write_pages(args.course)
    return 0


if __name__ == "__main__":
    sys.exit(main())
