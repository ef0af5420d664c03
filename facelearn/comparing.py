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
from facelearn.files import check_folder, write_whole
from facelearn.grid import complete
from facelearn.lesson import interval
from facelearn.measuring import evaluate, measure, measure_scores, numbers, table
from facelearn.nets import image_size, load_net
from facelearn.own import Scored, open_own, read_scores
from facelearn.verification import VerificationResult, compare
from facelearn.words import parse, spell

MEASURES = ("eer", "tar@1e-02", "tar@1e-03")
MOST = 10_000  # images whose pairs are listed, for the bootstrap that both models share


def compare_losses(
    out: Path,
    recipes: Mapping[str, dict[str, Any]],
    seeds: Sequence[int],
    progress: bool | None = None,
    say: Callable[[str], None] = print,
    device: str | None = None,
) -> pd.DataFrame:
    """Train every loss with every seed in run folders below `out`, and measure each on strangers of its seed.

    recipes: name -> fields of `runs.Settings`, `seed` left out; the first is what the others are compared with.
    Returns a row per run: `loss`, `seed` and the measures (on several processes the first does, and measures and
    writes). Writes `comparison.csv` and `comparison.txt` into `out`.
    ValueError, before anything is trained, for fewer than one seed, for data that is not synthetic, and for a loss or
    settings that there are not; OSError where `out` can be neither written into nor made.
    """
    distributed.together(lambda: check_folder(out, "--out"))
    if len(seeds) < 1:
        raise ValueError("seeds: 0; expected at least 1")
    cells = {  # a whole seed at a time, so that a comparison cut short has pairs
        f"{name}, seed {seed}": (name, runs.Settings(**{"eval_every": 0} | given | _of_seed(given, seed)))
        for seed in seeds
        for name, given in recipes.items()
    }
    for _, settings in cells.values():
        settings.recipe.build(settings.dim, 100)  # the words of the last loss, too, before hours of training
    first = distributed.rank() == 0
    if first:
        out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Any]] = {}

    def work(name: str, settings: runs.Settings) -> dict[str, Any]:
        folder = out / f"{re.sub(r'[^A-Za-z0-9.+=,-]+', '_', name)}-{settings.seed}"
        if first:
            say(f"{name}, seed {settings.seed}: {folder}")
        runs.train(folder, settings, progress=progress, device=device, say=lambda text: say(f"  {text}"))
        if not first:
            return {}
        measured = evaluate(runs.load(folder), strangers(settings.data, "open"), device=device)
        found = numbers(measured, resamples=0)["numbers"]
        return {"loss": name, "seed": settings.seed, **{m: found[m]["value"] for m in MEASURES if m in found}}

    complete(cells, work, rows.__setitem__, say=say if first else lambda _: None)
    if not first:
        return pd.DataFrame()
    frame = pd.DataFrame(rows.values())
    write_whole(out / "comparison.csv", frame.to_csv(index=False))
    text = "\n".join(describe(frame, list(recipes)))
    write_whole(out / "comparison.txt", text + "\n")
    say(text)
    return frame


def _of_seed(given: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The seed, and the training set with its people."""
    words = given.get("data", runs.Settings.data)
    kind, options = parse(words, "data")
    if kind != "synthetic":
        raise ValueError(f"data: {words!r}; expected synthetic[:name=value,...], or lfw")
    return {"seed": seed, "data": spell(kind, options | {"seed": seed})}


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
    device: str | None = None,
) -> dict[str, VerificationResult]:
    """Measure finished runs on one set, and the differences to the first with a paired bootstrap over people.

    target: from the size of a net's images (32 where any will do) to a name and the set; each run is measured on images
    of its own size. Returns the results.
    """
    files = {str(folder): runs.model_file(folder) for folder in folders}
    sets = {size: target(size) for size in dict.fromkeys(map(image_size, files.values()))}
    results = {}
    for folder, file in files.items():
        size = image_size(file)
        name, images = sets[size]
        results[folder] = evaluate(load_net(file), images, flip=flip, device=device)
        drawn = f" at {size} pixels" if len(sets) > 1 else ""
        say(f"{folder} on {name}{drawn}: {table(numbers(results[folder], resamples=resamples))}")
    _say_differences(results, resamples, say)
    return results


def compare_own(
    files: Sequence[str],
    *,
    labels: Path | None = None,
    pairs: Path | None = None,
    templates: Path | int | None = None,
    resamples: int = 200,
    say: Callable[[str], None] = print,
) -> dict[str, VerificationResult]:
    """As `compare_runs`, of models that nobody else has: embeddings:FILE or scores:FILE of each, on the same pairs.

    labels, pairs, templates: of embeddings, as for `own.open_own`. Where images have names, each file may have an order
    of its own. ValueError where two files are not of the same pairs, and for all pairs of more than `MOST` images.
    """
    beside = {"labels": labels, "pairs": pairs, "templates": templates}
    if all(words.startswith("scores:") for words in files) and (unused := [name for name in beside if beside[name]]):
        raise ValueError(f"--{unused[0]}: found with scores, which do not use it; expected it to be left out")
    results: dict[str, VerificationResult] = {}
    items: dict[str, list[str]] = {}
    for words in dict.fromkeys(files):
        kind, _, path = words.partition(":")
        if kind == "scores" and path:
            scored = _sorted(read_scores(path))
            results[words], items[words] = measure_scores(scored), scored.items
        elif kind == "embeddings" and path:
            data = open_own(embeddings=path, labels=labels, pairs=pairs, templates=templates)
            if data.pairs is None and len(data.items) > MOST:
                raise ValueError(f"{path}: found {len(data.items):,} rows, expected {MOST:,} at most, or --pairs")
            first = next(iter(items.values()), data.items)
            if data.items != first and len(set(first)) == len(first) and sorted(data.items) == sorted(first):
                data = data.ordered(first)
            results[words], items[words] = measure(data.embeddings, data), data.items
        else:
            raise ValueError(f"--own: {words!r}; expected embeddings:FILE or scores:FILE")
        base = next(iter(results))
        if items[words] != items[base] or not _same_pairs(results[words], results[base]):
            raise ValueError(f"{words}: found other rows than in {base}, expected the same pairs")
    if len(results) < 2:
        raise ValueError(f"--own: found {len(results)} file, expected two or more")
    for words, result in results.items():
        say(f"{words}: {table(numbers(result, resamples=resamples))}")
    _say_differences(results, resamples, say)
    return results


def _sorted(scored: Scored) -> Scored:
    """The pairs in one order, whoever wrote them, where it is known which they are."""
    if scored.pairs is None:
        return scored
    pairs = np.sort(scored.pairs, axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return scored._replace(scores=scored.scores[order], same=scored.same[order], pairs=pairs[order])


def _same_pairs(a: VerificationResult, b: VerificationResult) -> bool:
    """As far as both know whose images their pairs are; scores alone tell no more than who is the same person."""
    if a.pairs is None or b.pairs is None:
        return np.array_equal(a.same, b.same)
    return np.array_equal(a.same, b.same) and np.array_equal(a.pairs, b.pairs)


def _say_differences(results: Mapping[str, VerificationResult], resamples: int, say: Callable[[str], None]) -> None:
    """To the first, each with its interval."""
    (base, reference), *others = results.items()
    if not resamples:
        return
    if unknown := [name for name, result in results.items() if not result._num_people]:
        say(f"\nno interval of the differences to {base}: it is not known whose images the pairs of {unknown[0]} are")
        return
    measures = ["eer", "tar@1e-2", *({"accuracy"} & numbers(reference, resamples=0)["numbers"].keys())]
    say(f"\ndifferences to {base}, by a bootstrap of people shared by both")
    for name, result in others:
        for measure_name in measures:
            try:
                say(f"  {name}: {compare(result, reference, measure_name, resamples=resamples)}")
            except ValueError as problem:
                say(f"  {name}: {measure_name} not available ({problem})")
