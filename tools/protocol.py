"""The synthetic protocol from end to end: search, chosen settings, finals, and the page with the tables.

    python tools/protocol.py             # does what is missing and writes what follows from it
    python tools/protocol.py --page      # settings and page from the stored tables; trains nothing

`course/experiments/protocol.py` says what is run. Each finished run goes at once into `course/results/search.csv` or
`course/results/protocol.csv`, so that the same command goes on where it was stopped; `course/settings.json` and the
pages `course/{en,zh}/protocol.md` are made from these two tables.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "course")]  # also when started as a script

from tools.results import ENVIRONMENT, Row  # noqa: E402

KEY = ("loss", "setting", "split", "seed")
Job = tuple[dict[str, Any], str, int]  # recipe, split, seed


def experiment() -> ModuleType:
    return importlib.import_module("experiments.protocol")


# ---- resumable tables -----------------------------------------------------------------------------------------------


def fill(table: Path, jobs: Iterable[Job], run: Callable[..., Row]) -> None:
    """Run what the table does not have yet, and write it whole after every run.

    Rows of other settings (net, training, data), or that no job asks for any more, are left out.
    """
    import pandas as pd
    import torch

    from facelearn.figures import write_whole
    from facelearn.lesson import device, settings_hash

    protocol = experiment()
    current = settings_hash(protocol.SETTINGS)
    order = {
        (recipe["loss"], protocol.words(recipe), split, seed): (recipe, split, seed) for recipe, split, seed in jobs
    }
    done: dict[tuple[Any, ...], Row] = {}
    for row in pd.read_csv(table).to_dict("records") if table.is_file() else []:
        key = tuple(row[name] for name in KEY)
        if key in order and row["settings_hash"] == current:
            done[key] = {str(name): value for name, value in row.items()}
    for key, (recipe, split, seed) in order.items():
        if key in done:
            continue
        start = time.perf_counter()
        numbers = run(recipe, split, seed)
        seconds = round(time.perf_counter() - start, 2)
        own = {"settings_hash": current, "device": device().type, "torch": torch.__version__, "seconds": seconds}
        done[key] = {**dict(zip(KEY, key, strict=True)), **numbers, **own}
        frame = pd.DataFrame([done[key] for key in order if key in done])
        write_whole(table, frame.to_csv(index=False, lineterminator="\n").encode())
        print(
            f"[{len(done)}/{len(order)}] {' '.join(map(str, key))}  eer {numbers['eer']:.4f}  {seconds} s", flush=True
        )


def settings_file(search: Path) -> bytes:
    """The chosen recipes with where they come from, as JSON. ValueError while the search is not complete."""
    import pandas as pd

    protocol = experiment()
    chosen = protocol.choose(pd.read_csv(search))
    if missing := set(protocol.GRIDS) - set(chosen):
        raise ValueError(f"{search.name} lacks settings of {', '.join(sorted(missing))}: run the search to its end")
    digest = hashlib.sha256(search.read_bytes()).hexdigest()
    note = "made by tools/protocol.py, not by hand; experiments/protocol.py reads and explains it"
    made = {"note": note, "search_sha256": digest, **protocol.SETTINGS, "losses": chosen}
    return (json.dumps(made, indent=2) + "\n").encode()


def main(arguments: list[str] | None = None) -> int:
    from facelearn.figures import write_whole

    parser = argparse.ArgumentParser(description="Search, finals, settings and page of the synthetic protocol.")
    parser.add_argument("--course", type=Path, default=ROOT / "course", help="folder of the course")
    args = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT)
    import torch

    torch.set_num_threads(1)
    protocol = experiment()
    search, finals = (args.course / "results" / f"{name}.csv" for name in ("search", "protocol"))
    fill(search, protocol.search(), protocol.run)
    write_whole(args.course / "settings.json", settings_file(search))
    chosen = json.loads((args.course / "settings.json").read_text(encoding="utf-8"))["losses"]
    fill(finals, protocol.finals(chosen), protocol.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
