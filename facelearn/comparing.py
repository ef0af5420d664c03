"""Losses against each other: the same nets, data, steps and seeds; differences paired, each with its interval."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from facelearn import distributed, runs
from facelearn.data.named import strangers
from facelearn.files import write_whole
from facelearn.lesson import interval
from facelearn.measuring import evaluate, numbers, table
from facelearn.nets import image_size
from facelearn.verification import VerificationResult, compare
from facelearn.words import parse, spell

MEASURES = ("eer", "tar@1e-02", "tar@1e-03")


def compare_losses(
    out: Path,
    recipes: Mapping[str, dict[str, Any]],
    seeds: Sequence[int],
    progress: bool | None = None,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Train every loss with every seed in run folders below `out`, and measure each on strangers of its seed.

    recipes: name -> fields of `runs.Settings`, `seed` left out; the first is what the others are compared with.
    Returns a row per run: `loss`, `seed` and the measures (on several processes the first does, and measures and
    writes). Writes `comparison.csv` and `comparison.txt` into `out`.
    ValueError for fewer than one seed, and for data that is not synthetic.
    """
    if len(seeds) < 1:
        raise ValueError("seeds: 0; expected at least 1")
    rows, first = [], distributed.rank() == 0
    for seed in seeds:  # a whole seed at a time, so that a comparison cut short has pairs
        for name, given in recipes.items():
            settings = runs.Settings(**{"eval_every": 0} | given | {"seed": seed, "data": _of_seed(given, seed)})
            folder = out / f"{re.sub(r'[^A-Za-z0-9.+=,-]+', '_', name)}-{seed}"
            if first:
                say(f"{name}, seed {seed}: {folder}")
            runs.train(folder, settings, progress=progress, say=lambda text: say(f"  {text}"))
            if first:
                measured = evaluate(runs.load(folder), strangers(settings.data, "open"))
                found = numbers(measured, resamples=0)["numbers"]
                rows.append({"loss": name, "seed": seed, **{m: found[m]["value"] for m in MEASURES if m in found}})
    table = pd.DataFrame(rows)
    if first:
        write_whole(out / "comparison.csv", table.to_csv(index=False).encode())
        text = "\n".join(describe(table, list(recipes)))
        write_whole(out / "comparison.txt", (text + "\n").encode())
        say(text)
    return table


def _of_seed(given: Mapping[str, Any], seed: int) -> str:
    """The training set, with the people of this seed."""
    words = given.get("data", runs.Settings.data)
    kind, options = parse(words, "data")
    if kind != "synthetic":
        raise ValueError(f"data: {words!r}; expected synthetic[:name=value,...], or lfw")
    return spell(kind, options | {"seed": seed})


def describe(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The means, and the paired differences to the first loss, as lines to read."""
    measures = [m for m in MEASURES if m in table]
    seeds = sorted(set(table["seed"]))
    width = max(map(len, names))
    lines = [
        "",
        f"mean over {len(seeds)} seeds, % (± half a 95 % t-interval of the mean)",
        " " * width + "".join(f"{m:>16}" for m in measures),
    ]
    by_loss = {name: table[table["loss"] == name].set_index("seed").loc[seeds] for name in names}
    lines += [f"{name:{width}}" + "".join(f"{_spread(by_loss[name][m])}" for m in measures) for name in names]
    if len(names) > 1:
        lines += ["", f"difference to {names[0]}, paired by seed, percentage points (* 0 is outside the interval)"]
        for name in names[1:]:
            differences = (by_loss[name][m] - by_loss[names[0]][m] for m in measures)
            lines.append(f"{name:{width}}" + "".join(_spread(d, signed=True) for d in differences))
    if len(seeds) == 1:
        lines += ["", "one seed: no interval, no claim; use --seeds 3 or more"]
    return lines


def _spread(values: Iterable[float], signed: bool = False) -> str:
    x = 100 * np.asarray(list(values), dtype=float)
    mean = f"{x.mean():{'+' if signed else ''}.2f}"
    if len(x) < 2:
        return f"{mean:>16}"
    spread = interval(x)
    star = "*" if signed and not spread.contains(0.0) else " "
    return f"{mean + f' ± {spread.half_width:.2f}' + star:>16}"


def compare_runs(
    folders: Sequence[Path],
    target: Callable[[int], tuple[str, Any]],
    flip: bool = False,
    resamples: int = 200,
    say: Callable[[str], None] = print,
) -> dict[str, VerificationResult]:
    """Measure finished runs on one set, and the differences to the first with a paired bootstrap over people.

    target: from the size of the first net's images (32 where any will do) to a name and the set. Returns the results.
    """
    nets = {str(folder): runs.load(folder) for folder in folders}
    name, images = target(image_size(runs.model_file(folders[0])))
    results = {folder: evaluate(net, images, flip=flip) for folder, net in nets.items()}
    for folder, result in results.items():
        say(f"{folder} on {name}: {table(numbers(result, resamples=resamples))}")
    (base, reference), *others = results.items()
    say(f"\ndifferences to {base}, by a bootstrap of people shared by both")
    for folder, result in others:
        for measure in ("eer", "tar@1e-2", "accuracy") if resamples else ():
            try:
                say(f"  {folder}: {compare(result, reference, measure, resamples=resamples)}")
            except ValueError as problem:
                say(f"  {folder}: {measure} not available ({problem})")
    return results
