"""What a net is worth on a set of images: numbers with intervals, to print and to keep."""

from __future__ import annotations

import contextlib
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facelearn.files import write_json
from facelearn.own import Scored
from facelearn.training import best_device, embed
from facelearn.verification import (
    AllPairsResult,
    Interval,
    VerificationResult,
    all_pairs,
    evaluate_all_pairs,
    evaluate_pairs,
    evaluate_scores,
)
from facelearn.verification.checks import to_numpy, unit_rows

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
MANY = 2_000  # images of which all pairs are counted without a list of them: with intervals half a second, not 20

Names = list[str]


def evaluate(
    net: nn.Module, target: Any, *, flip: bool = False, device: str | torch.device | None = None
) -> VerificationResult:
    """Measure a net on a set with `.pairs`, `.same` (LFW and the like), or else on all pairs of a labelled set.

    flip: embed the mirrored image, too, and add the two embeddings, as is usual for published numbers.
    device: CUDA where there is one, unless named; the net stays on it.
    """
    return measure(embeddings_of(net, target, flip=flip, device=device), target)


def embeddings_of(
    net: nn.Module, target: Any, *, flip: bool = False, device: str | torch.device | None = None
) -> Tensor:
    """(N, d), see `evaluate`."""
    device = best_device(device)
    embeddings = embed(net, target, device=device)
    if flip:
        images = getattr(target, "images", None)
        if not isinstance(images, Tensor):
            raise ValueError(f"flip: {type(target).__name__} has no .images; expected a set in memory")
        embeddings = embeddings + embed(net, images.flip(3), device=device)
    return embeddings


def measure(embeddings: Any, target: Any) -> VerificationResult:
    """The embeddings of a set's images, on its pairs or all pairs, see `evaluate`.

    Where the set has `.members`, the template of each image, the mean of the unit embeddings of a template stands for
    it, and pairs and labels are those of the templates.
    """
    if getattr(target, "members", None) is not None:
        embeddings = pooled(embeddings, target.members)
    if getattr(target, "pairs", None) is None:
        return _all_pairs(embeddings, target.labels)
    pairs, same, people = to_numpy(target.pairs), to_numpy(target.same), target.labels
    if people is not None:  # InsightFace's files do not say who it is
        persons = to_numpy(people)[pairs]  # (P, 2)
        people = people if ((persons[:, 0] == persons[:, 1]) == same).all() else None
    folds = None if target.folds is None or len(np.unique(to_numpy(target.folds))) < 2 else target.folds
    return evaluate_pairs(embeddings, pairs, same, identities=people, folds=folds)


def counted(embeddings: Any, target: Any) -> AllPairsResult | None:
    """As `measure` where all pairs are those of more than `MANY` images or templates; None elsewhere."""
    if getattr(target, "pairs", None) is not None or len(target.labels) <= MANY:
        return None
    if getattr(target, "members", None) is not None:
        embeddings = pooled(embeddings, target.members)
    return evaluate_all_pairs(embeddings, target.labels)


def measure_scores(scored: Scored) -> VerificationResult:
    """Somebody's scores; with intervals where the file names what is compared."""
    if scored.pairs is None:
        return evaluate_scores(scored.scores, scored.same)
    return evaluate_scores(scored.scores, scored.pairs, scored.same, identities=scored.labels)


def _all_pairs(embeddings: Any, labels: Any) -> VerificationResult:
    return evaluate_pairs(embeddings, *all_pairs(labels), identities=labels)


def pooled(embeddings: Any, members: np.ndarray) -> np.ndarray:
    """(n, d) embeddings and the template of each -> (N, d), the mean of the unit rows of each template."""
    unit = unit_rows("embeddings", embeddings)
    means = np.zeros((int(members.max()) + 1, unit.shape[1]))
    np.add.at(means, members, unit)
    return means / np.bincount(members)[:, None]


def numbers(result: VerificationResult | AllPairsResult, *, resamples: int = 200) -> dict[str, Any]:
    """AUC, EER, TAR at each FAR that the pairs can show, accuracy, with 95 % intervals over people where known.

    No accuracy of pairs that are not balanced, such as all pairs of a set: calling everyone a stranger scores high. Nor
    where those that folds of people leave are not: most impostor pairs show people of two folds.
    """
    values = _values(result)
    return _told(result, values, _intervals(result, list(values), resamples))


def details(result: VerificationResult | AllPairsResult, *, resamples: int = 200) -> dict[str, Any]:
    """What `numbers` has, and what a report shows: thresholds to operate at, the ROC with intervals, scores, the worst.

    operating_points: at the EER, and at FAR 1e-1 to 1e-4 and finer where a single false accept is fine enough; `few`
    where fewer than ten decide, nothing but `asked` where no threshold can show it. curve: TAR at some FARs.
    false_accepts, false_rejects: the ten impostor pairs with the highest scores, the ten genuine ones with the lowest;
    `pair` counts the pairs from 0; `wrong` at the threshold of the EER.
    """
    if result.num_impostor < 2:
        raise ValueError("impostor pairs: found 1, expected 2 or more for curves and thresholds")
    values, finest = _values(result), 1 / result.num_impostor
    asked = [far for far in (*FARS, 1e-5, 1e-6) if far in FARS or far >= finest]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few impostor pairs: the points say so themselves
        at = {far: result.threshold_at(far) for far in asked if far >= finest}
        names = [*values, *(f"tar@{far!r}" for far in at), f"frr<{float(result.eer_threshold)!r}"]
        names += [f"far>={float(t)!r}" for t in (result.eer_threshold, *at.values())]
        drawn = [f"tar@{far!r}" for far in np.geomspace(finest, 0.9, 25).tolist()]
        if isinstance(result, AllPairsResult):  # not another round through all pairs for each point of a curve
            heights = [result.about(name) for name in drawn]
            spans = _intervals(result, names, resamples) | _intervals(result, drawn, resamples, exact=False)
        else:
            heights = [result.tar_at(float(name[4:])) for name in drawn]
            spans = _intervals(result, list(dict.fromkeys([*names, *drawn])), resamples)
    points = [_point(result, None, result.eer_threshold, spans)]
    points += [_point(result, far, at[far], spans) if far in at else {"asked": far} for far in asked]
    curve = [{"far": float(n[4:])} | _cell(tar, spans.get(n)) for n, tar in zip(drawn, heights, strict=True)]
    by = {"parts": result.parts} if isinstance(result, AllPairsResult) else {"resamples": resamples}
    return _told(result, values, spans) | {
        "interval": {"level": 0.95, "by": "people"} | by if spans else None,
        "people": result._num_people or None,
        "operating_points": points,
        "curve": curve,
        "scores": _histogram(result),
        "false_accepts": _worst(result, False),
        "false_rejects": _worst(result, True),
    }


def _values(result: VerificationResult | AllPairsResult) -> dict[str, float]:
    fars = [far for far in FARS if far >= 10 / result.num_impostor]
    values = {"auc": result.auc, "eer": result.eer} | {f"tar@{far:.0e}": result.tar_at(far) for far in fars}
    if isinstance(result, VerificationResult) and _balanced(result.same) and _balanced(result.same[result.folds >= 0]):
        with contextlib.suppress(ValueError):  # too few people for folds
            values["accuracy"] = result.accuracy
    return values


def _balanced(same: np.ndarray) -> bool:
    genuine = int(same.sum())
    return genuine <= 2 * (len(same) - genuine) and len(same) - genuine <= 2 * genuine


def _intervals(
    result: VerificationResult | AllPairsResult, names: Names, resamples: int, exact: bool = True
) -> dict[str, Interval]:
    """95 % intervals by people; none where people are unknown, or too few."""
    try:
        if not resamples:
            found = {}
        elif isinstance(result, AllPairsResult):
            found = result.intervals(names, exact=exact)  # from parts of the people
        else:
            found = result.intervals(names, resamples=resamples)
    except ValueError:
        return {}
    return {name: interval for name, interval in found.items() if not math.isnan(interval.low)}


def _told(
    result: VerificationResult | AllPairsResult, values: dict[str, float], spans: dict[str, Interval]
) -> dict[str, Any]:
    cells = {name: _cell(value, spans.get(name)) for name, value in values.items()}
    return {"genuine": result.num_genuine, "impostor": result.num_impostor, "numbers": cells}


def _cell(value: float, interval: Interval | None) -> dict[str, float]:
    return {"value": value} | ({} if interval is None else {"low": interval.low, "high": interval.high})


def _point(
    result: VerificationResult | AllPairsResult, asked: float | None, threshold: float, spans: dict[str, Interval]
) -> dict[str, Any]:
    """The rates at a threshold. At a FAR the interval of TAR and FRR knows that these pairs chose the threshold."""
    rates, at = result.rates_at(threshold), repr(float(threshold))
    if asked is None:
        frr = _cell(rates.frr, spans.get(f"frr<{at}"))
        tar = _complement(frr)
    else:
        tar = _cell(1 - rates.frr, spans.get(f"tar@{asked!r}"))
        frr = _complement(tar)
    accepts, rejects = round(rates.far * result.num_impostor), round(rates.frr * result.num_genuine)
    return {
        "asked": "eer" if asked is None else asked,
        "threshold": float(threshold),
        "far": _cell(rates.far, spans.get(f"far>={at}")),
        "tar": tar,
        "frr": frr,
        "false_accepts": accepts,
        "false_rejects": rejects,
        "few": asked is not None and asked < 10 / result.num_impostor,
    }


def _complement(cell: dict[str, float]) -> dict[str, float]:
    """A rate and its interval -> those of what is left to 1."""
    ends = {"value": "value", "low": "high", "high": "low"}
    return {name: 1 - cell[end] for name, end in ends.items() if end in cell}


def _histogram(result: VerificationResult | AllPairsResult, bins: int = 40) -> dict[str, list[float]]:
    """How many pairs of each kind score between one edge and the next."""
    if isinstance(result, AllPairsResult):
        names = ("edges", "genuine", "impostor")
        return {name: values.tolist() for name, values in zip(names, result.histogram(bins), strict=True)}
    finite = np.isfinite(result.scores)
    edges = np.histogram_bin_edges(result.scores[finite], bins)
    kinds = {"genuine": result.same & finite, "impostor": ~result.same & finite}
    counts = {kind: np.histogram(result.scores[chosen], edges)[0].tolist() for kind, chosen in kinds.items()}
    return {"edges": edges.tolist()} | counts


def _worst(result: VerificationResult | AllPairsResult, same: bool, count: int = 10) -> list[dict[str, Any]]:
    """The pairs that a threshold gets wrong first."""
    if isinstance(result, AllPairsResult):
        pairs, scores = (result.worst_genuine if same else result.worst_impostors)(count)
        wrong = (scores >= result.eer_threshold) != same
        found = zip(scores.tolist(), wrong.tolist(), pairs.tolist(), strict=True)
        return [{"score": score, "wrong": bad, "first": a, "second": b} for score, bad, (a, b) in found]
    places = np.flatnonzero(result.same == same)
    order = np.argsort(result.scores[places] if same else -result.scores[places], kind="stable")[:count]
    rows = []
    for place in places[order].tolist():
        score = float(result.scores[place])
        wrong = bool(score >= result.eer_threshold) != same
        row: dict[str, Any] = {"pair": place, "score": score if np.isfinite(score) else None, "wrong": wrong}
        if result.pairs is not None:
            row |= {"first": int(result.pairs[place, 0]), "second": int(result.pairs[place, 1])}
        rows.append(row)
    return rows


def roc_to_draw(result: VerificationResult | AllPairsResult, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """FAR and TAR for a logarithmic axis, at most so many points of what may be millions."""
    far, tar, _ = result.roc
    chosen = np.searchsorted(far, np.geomspace(1 / result.num_impostor, 1, count), side="right") - 1
    return far[chosen], tar[chosen]


def table(measured: dict[str, Any]) -> str:
    """The numbers as lines to read."""
    lines = [f"{measured['genuine']:,} genuine + {measured['impostor']:,} impostor pairs"]
    for name, cell in measured["numbers"].items():
        share = f"{cell['value']:.5f}" if name == "auc" else f"{cell['value']:.2%}"
        span = ""
        if "low" in cell:
            ends = (cell["low"], cell["high"])
            span = "   95 % " + " to ".join(f"{end:.5f}" if name == "auc" else f"{end:.2%}" for end in ends)
        lines.append(f"  {name:10} {share:>9}{span}")
    return "\n".join(lines)


def write_evaluation(
    folder: Path, name: str, result: VerificationResult | AllPairsResult, measured: dict[str, Any]
) -> Path:
    """The ROC as a figure, and `evaluation_<name>.json`, which says that both are there."""
    from matplotlib import pyplot as plt

    from facelearn import figures

    folder.mkdir(parents=True, exist_ok=True)
    figures.use_style()
    fig, ax = plt.subplots()
    ax.plot(*roc_to_draw(result), color=figures.colour("arcface"))
    ax.set(xscale="log", xlim=(1 / result.num_impostor, 1), ylim=(0, 1.01), xlabel="false accept rate",
           ylabel="true accept rate", title=f"ROC on {name}, EER {result.eer:.2%}")  # fmt: skip
    figures.save_png(folder / "figures" / f"roc_{name}.png", fig)
    write_json(folder / f"evaluation_{name}.json", measured)
    return folder / f"evaluation_{name}.json"
