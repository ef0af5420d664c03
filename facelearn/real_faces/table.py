"""From the lines of a run folder to a table: means over seeds, intervals, and paired tests between systems."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from facelearn.real_faces.recipe import LOSSES
from facelearn.real_faces.systems import FUSED, named

Array = NDArray[Any]
Line = dict[str, Any]
NAN = float("nan")


def rows(lines: Sequence[Line]) -> pd.DataFrame:
    """One row per system, loss, seed and rotation, and one with rotation "all", which has the intervals.

    In a row "all", `accuracy`, `accuracy_seen` and the measures `every_*` are means over the rotations; `eer` and
    `tar2` are of the pairs of all folds together. Rates are between 0 and 1.
    """
    made = []
    for line in lines:
        key = {name: line[name] for name in ("system", "loss", "seed")}
        parts = pd.DataFrame(line["rotations"])
        means = parts.drop(columns="rotation").mean().to_dict()
        spans = {
            f"{name}_{end}": value
            for name, measure in (("accuracy", "accuracy"), ("eer", "eer"), ("tar2", "tar@1e-2"))
            for end, value in zip(("low", "high"), line["intervals"].get(measure, (NAN, NAN)), strict=True)
        }
        whole = {name: line[name] for name in ("eer", "tar2", "orl_eer", "seconds")}
        made.append(pd.DataFrame([key | {"rotation": "all"} | means | whole | spans]))
        made.append(parts.assign(**key, rotation=parts["rotation"].astype(str)))
    return pd.concat(made, ignore_index=True)


def summary(lines: Sequence[Line]) -> pd.DataFrame:
    """One row per system and loss: seeds, means over them, standard deviation of accuracy between them, intervals.

    The interval of a mean over seeds is the mean of the seeds' intervals. It speaks of other people, not of other
    seeds: these are what `accuracy_sd` is for.
    """
    table = rows(lines)
    groups = table[table["rotation"] == "all"].groupby(["system", "loss"], sort=False, dropna=False)
    means = groups.mean(numeric_only=True).drop(columns="seed")
    return means.assign(accuracy_sd=groups["accuracy"].std(), seeds=groups.size()).reset_index()


class Difference(NamedTuple):
    """Accuracy of one system less that of another, on the same pairs."""

    value: float
    low: float  # 95 % interval
    high: float
    p: float  # two-sided, of "no difference"


def paired_difference(a: Array, b: Array, people: Array) -> Difference:
    """a, b (S, P) bool: was the pair decided rightly, for each seed; people (P, 2) of each pair.

    The difference is the mean of d = a - b. Its variance has two parts, added: that of other people, Σ d̃_p d̃_q / P²
    over all pairs p, q of pairs that share a person, with d̃ = d - mean and d the mean over the seeds (Aronow, Samii and
    Assenova, "Cluster-robust variance estimation for dyadic data", Political Analysis 23(4), 2015, which allows for
    pairs that share people as McNemar's test does not); and that of other seeds, the variance of the seeds' means over
    their number S, where S > 1. Thresholds count as given.
    """
    if a.shape != b.shape or a.ndim != 2 or people.shape != (a.shape[1], 2):
        raise ValueError(f"a, b, people: shapes {a.shape}, {b.shape}, {people.shape}; expected (S, P) twice and (P, 2)")
    d = a.astype(float) - b.astype(float)  # (S, P)
    value, rest = float(d.mean()), d.mean(0) - d.mean()
    first, second = np.sort(people, axis=1).T
    number = int(people.max()) + 1
    two = first != second
    of_person = np.bincount(first, rest, number) + np.bincount(second[two], rest[two], number)
    met, couple = np.unique(first[two] * number + second[two], return_inverse=True)
    of_couple = np.bincount(couple, rest[two], len(met))  # they share two people, and were counted twice
    variance = max((of_person**2).sum() - (of_couple**2).sum(), 0.0) / d.shape[1] ** 2
    if len(d) > 1:
        variance += d.mean(1).var(ddof=1) / len(d)
    error = variance**0.5
    p = 2 * norm.sf(abs(value) / error) if error else float(value == 0)
    return Difference(value, value - 1.96 * error, value + 1.96 * error, float(p))


def holm(p: Array) -> Array:
    """Holm's adjustment (Scand. J. Statistics 6, 1979): below .05 each, they are wrong in 5 % of such families."""
    values = np.asarray(p, float)
    order = values.argsort()
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1)
    adjusted = np.empty_like(values)
    adjusted[order] = steps
    return adjusted


def tests(lines: Sequence[Line], people: Array) -> pd.DataFrame:
    """Paired differences of accuracy: each loss against softmax, and systems against the classical ones.

    Only seeds that both have; a system without seeds meets every seed of the other. `p_holm` is adjusted within each
    `family` of questions. people (P, 2): those of the listed pairs.
    """
    known = {(line["system"], line["loss"], line["seed"]): right(line, len(people)) for line in lines}
    losses = [loss for loss in dict.fromkeys(line["loss"] for line in lines) if loss in LOSSES]
    asked = [(f"{s}: losses", (s, loss), (s, "softmax")) for s in ("net", "whole net") for loss in losses]
    best = "lbp + JB"
    fused = named(FUSED)
    everything = f"whole net + {fused}"
    for system in ("net", "net + JB", "features + JB", "whole net", "whole net + lbp", everything):
        asked += [(f"{system} against {best}", (system, loss), (best, "classical")) for loss in losses]
    asked += [(f"{everything} against {fused}", (everything, loss), (fused, "classical")) for loss in losses]
    found = []
    for family, a, b in asked:
        if a == b:
            continue
        both = pair_up(known, a, b)
        if both is not None:
            difference = paired_difference(both[0], both[1], people)
            found.append({"family": family, "system": a[0], "loss": a[1], "against": b[0], "against_loss": b[1],
                          "seeds": len(both[0]), **difference._asdict()})  # fmt: skip
    table = pd.DataFrame(found)
    if len(table):
        table["p_holm"] = table.groupby("family")["p"].transform(lambda p: holm(p.to_numpy()))
    return table


def pair_up(
    known: dict[tuple[str, str, int], Array], a: tuple[str, str], b: tuple[str, str]
) -> tuple[Array, Array] | None:
    """Decisions (S, P) of a and b for the seeds that both have, or None."""
    seeds = [seed for system, loss, seed in known if (system, loss) == a]
    free = b[1] == "classical"
    seeds = [seed for seed in seeds if free or (*b, seed) in known]
    if not seeds:
        return None
    return np.stack([known[*a, s] for s in seeds]), np.stack([known[*b, 0 if free else s] for s in seeds])


def right(line: Line, pairs: int) -> Array:
    """(P,) bool, the decisions of a line."""
    bits = np.frombuffer(base64.b64decode(line["correct"]), np.uint8)
    return np.unpackbits(bits, count=pairs).astype(bool)


def as_text(lines: Sequence[Line], differences: pd.DataFrame) -> str:
    """The table and the tests for a terminal; percent."""
    table = summary(lines)
    shown = [f"{'%':52}{'seeds':>6}{'accuracy':>21}{'seen thr.':>11}{'EER':>8}{'TAR@1e-2':>10}"
             f"{'all pairs: EER':>16}{'TAR@1e-2':>10}{'@1e-3':>7}{'ORL EER':>9}{'s':>6}"]  # fmt: skip
    for row in table.sort_values("accuracy").to_dict("records"):
        name = row["system"] if row["loss"] == "classical" else f"{row['loss']}: {row['system']}"
        span = f"{100 * row['accuracy']:.2f} [{100 * row['accuracy_low']:.1f}, {100 * row['accuracy_high']:.1f}]"
        orl, seconds = (f"{x:.1f}" if x == x else "" for x in (100 * row["orl_eer"], row["seconds"]))
        shown.append(
            f"{name:52}{row['seeds']:6}{span:>21}{100 * row['accuracy_seen']:11.2f}{100 * row['eer']:8.2f}"
            f"{100 * row['tar2']:10.1f}{100 * row['every_eer']:16.2f}{100 * row['every_tar2']:10.1f}"
            f"{100 * row['every_tar3']:7.1f}{orl:>9}{seconds:>6}"
        )
    shown += ["", "Paired differences of accuracy in points, 95 % interval, p after Holm within each question:"]
    for family, part in differences.groupby("family", sort=False) if len(differences) else ():
        shown.append(f"  {family}")
        for row in part.to_dict("records"):
            span = f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
            shown.append(f"    {row['loss']:16}{100 * row['value']:+7.2f} {span:18} p = {row['p_holm']:.3f}")
    return "\n".join(shown)
