"""What each chapter claims, as comparisons that its table decides; and each claim once more, with three fresh seeds.

    python tools/claims.py      # trains what is missing of results/claims.csv, then writes course/{en,zh}/claims.md

A claim names the rows that it needs and reads its comparisons off a table (`Finding`), with the limits of the chapter's
own verdict: on the stored table all of them hold where the verdict cell prints True. The rows are trained anew by the
chapter's own module, with its settings and its learning rate, and with seeds that no table, search or test has used.

The rule, written down before the first run (`judged`). Of one comparison:

    stands      the mean of the new seeds lies on the side of the limit that the claim needs, and so does the whole
                interval over old and new seeds together
    falls       the interval of the new seeds, or that over all seeds, lies wholly on the other side
    uncertain   neither

A claim stands where all of its comparisons stand, and falls where one of them falls. Three seeds decide little: with
the scatter of the stored seeds some true claims come out uncertain; `by_chance` says how many to expect.

To add a chapter, write a function that returns its `Claim` and decorate it with `of("NN_stem")`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from experiments import (
    arcface,
    capstone,
    center,
    circle,
    contrastive,
    cosface,
    discface,
    ethics,
    faces,
    hard_negatives,
    l2_softmax,
    lgm,
    margins,
    npcface,
    protocol,
    quality,
    ring,
    scale,
    softmax,
    sphereface,
    start,
    training,
    triplet,
    verification,
)
from experiments.faces import Setting, paired, rows
from numpy.typing import NDArray
from scipy.stats import t

from facelearn import figures, lesson

MODULES: dict[str, ModuleType] = {
    one.CHAPTER: one
    for one in (
        start, verification, ethics, softmax, contrastive, triplet, center, l2_softmax, ring, lgm, sphereface, cosface,
        arcface, margins, hard_negatives, circle, discface, npcface, quality, training, scale,
        capstone,
    )
}  # fmt: skip
SEEDS = (9101, 9102, 9103)
BLOCK = range(9101, 9200)  # of a chapter where a seed is a test, more of them
TESTS = {"open": range(9101, 9121), "all": range(9101, 9141)}  # of chapter 01, by its stages
STANDS, UNCERTAIN, FALLS = "stands", "uncertain", "falls"
RULE = (STANDS, UNCERTAIN, FALLS)

Table = pd.DataFrame
Tables = Mapping[str, Table]  # of chapters by their names
Array = NDArray[Any]


# ---- comparisons and the rule ---------------------------------------------------------------------------------------


class Finding(NamedTuple):
    """A comparison that a claim rests on: one number a seed, in points of percent unless the name says otherwise.

    kind   "above", "below": the claim needs the whole interval on that side of the limit; "within": between -limit
           and limit
    by     what the interval is: "mean": t-interval of the mean; "share": Wilson's of a share, the numbers being 0 and
           100; "every": from the smallest to the largest number
    """

    name: str
    values: pd.Series
    kind: str
    limit: float = 0.0
    by: str = "mean"

    @property
    def old(self) -> pd.Series:
        return self.values[~self.values.index.isin(BLOCK)]

    @property
    def new(self) -> pd.Series:
        return self.values[self.values.index.isin(BLOCK)]


def ends(values: Any, by: str = "mean", level: float = 0.95) -> tuple[Array, Array]:
    """Both ends of the interval, along the last axis.  (..., n) -> (...), (...)"""
    values = np.asarray(values, dtype=float)
    n, mean = values.shape[-1], values.mean(-1)
    if by == "every":
        return values.min(-1), values.max(-1)
    if by == "share":
        z, p = 1.959964, mean / 100
        middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        return 100 * (middle - half) / (1 + z**2 / n), 100 * (middle + half) / (1 + z**2 / n)
    half = t.ppf((1 + level) / 2, n - 1) * values.std(-1, ddof=1) / math.sqrt(n)
    return mean - half, mean + half


def claimed(low: Any, high: Any, kind: str, limit: float) -> Any:
    """Does the interval lie wholly where the claim needs it?"""
    if kind == "within":
        return (low > -limit) & (high < limit)
    return low > limit if kind == "above" else high < limit


def refuted(low: Any, high: Any, kind: str, limit: float) -> Any:
    """Does it lie wholly on the other side?"""
    if kind == "within":
        return (low > limit) | (high < -limit)
    return high < limit if kind == "above" else low > limit


def judged(old: Any, new: Any, kind: str, limit: float = 0.0, by: str = "mean") -> Array:
    """The rule, for many sets of new seeds at once: places in `RULE`.  (n,), (..., k) -> (...)"""
    new = np.asarray(new, dtype=float)
    every = np.concatenate([np.broadcast_to(np.asarray(old, dtype=float), (*new.shape[:-1], len(old))), new], axis=-1)
    low, high = ends(new, by)
    first, last = (low, high) if by == "every" else (new.mean(-1), new.mean(-1))
    stands = claimed(first, last, kind, limit) & claimed(*ends(every, by), kind, limit)
    falls = refuted(low, high, kind, limit) | refuted(*ends(every, by), kind, limit)
    return np.where(stands, 0, np.where(falls, 2, 1))


def outcome(finding: Finding) -> str:
    """How a comparison stands after the new seeds."""
    return RULE[int(judged(finding.old, finding.new, *finding[2:]))]


def worst(outcomes: Iterable[str]) -> str:
    """That of a claim, from those of its comparisons."""
    return max(outcomes, key=RULE.index)


def room(finding: Finding, values: pd.Series | None = None) -> float:
    """How far the interval keeps from the limit, over its half width: above 0 where the claim holds."""
    low, high = map(float, ends(finding.values if values is None else values, finding.by))
    limit = finding.limit
    gap = {"above": low - limit, "below": limit - high, "within": min(low + limit, limit - high)}[finding.kind]
    return gap / max((high - low) / 2, 1e-12)


def by_chance(findings: Sequence[Finding], counts: Sequence[int], draws: int = 4000) -> tuple[float, float]:
    """How probably a true claim comes out as uncertain, and as fallen, with so many new seeds for each comparison.

    True effects and scatter are drawn from what the stored seeds leave open (a t distribution, the comparisons of one
    claim together, as they vary together from seed to seed); draws in which the claim would be false are left out.
    """
    rng = np.random.default_rng(0)
    seeds = sorted({seed for one in findings for seed in one.old.index})
    spreads = {n: np.sqrt((n - 1) / rng.chisquare(n - 1, draws)) for n in sorted({len(one.old) for one in findings})}
    shift = rng.standard_normal((draws, len(seeds)))
    fresh = rng.standard_normal((draws, max(counts), len(seeds)))
    true, found = np.ones(draws, bool), np.zeros(draws, int)
    for one, count in zip(findings, counts, strict=True):
        n, own = len(one.old), [seeds.index(seed) for seed in one.old.index]
        residuals = (one.old - one.old.mean()).to_numpy() / math.sqrt(n - 1)
        truth = one.old.mean() + spreads[n] * (shift[:, own] @ residuals) / math.sqrt(n)  # (draws,)
        new: Array = truth[:, None] + spreads[n][:, None] * (fresh[:, :count, own] @ residuals)  # (draws, count)
        if one.by == "share":
            new = 100.0 * (rng.random((draws, count)) < truth[:, None] / 100)
        true &= np.asarray(claimed(truth, truth, one.kind, one.limit))
        found = np.maximum(found, judged(one.old, new, *one[2:]))
    return float((found[true] == 1).mean()), float((found[true] == 2).mean())


# ---- claims ---------------------------------------------------------------------------------------------------------


class Claim(NamedTuple):
    """What one verdict rests on.

    needs   the settings of its rows, by the chapter whose table has them
    read    its comparisons, from the tables of these chapters
    where   on what it was measured: "faces", "digits", "both", "tests" (of finished nets)
    scales  of the cosines, where there are any
    lr      learning rates, where they do not stand in the rows or in the chapter's SETTINGS
    """

    needs: dict[str, list[Setting]]
    read: Callable[[Tables], list[Finding]]
    where: str = "faces"
    scales: tuple[int, ...] = ()
    lr: tuple[float, ...] = ()

    @property
    def rates(self) -> list[float]:
        """The learning rates of its trainings; a rate of 0 in a row stands for the chapter's own."""
        own = {name: MODULES[name].SETTINGS.get("training", {}).get("lr") for name in self.needs}
        found = {one.get("lr") or own[name] for name, settings in self.needs.items() for one in settings}
        return sorted(self.lr or {lr for lr in found if lr})


CLAIMS: dict[str, list[Claim]] = {}
Made = Callable[[], Claim]


def of(chapter: str) -> Callable[[Made], Made]:
    """Add a claim to a chapter; where it has several, in the order of its verdicts."""

    def add(make: Made) -> Made:
        CLAIMS.setdefault(chapter, []).append(make())
        return make

    return add


@of("00_start")
def _start() -> Claim:
    settings = [start.setting(people) for people in start.PEOPLE]
    settings += [start.setting(start.PEOPLE[-1], arm) for arm in start.CONTROLS]

    def read(tables: Tables) -> list[Finding]:
        return [Finding(name, values, "above") for name, values in start.claims(tables["00_start"]).items()]

    return Claim({"00_start": settings}, read)


@of("01_verification")
def _verification() -> Claim:
    limits = verification.SETTINGS
    settings = [verification.setting(), verification.setting("all", limits["all"]["difficulty"])]

    def read(tables: Tables) -> list[Finding]:
        lists, every = (verification.rows(tables["01_verification"], stage) for stage in ("open", "all"))
        shares = {
            "lists in the wrong order, %": (
                verification.reversed_order(verification.difference(lists)), "above", limits["wrong_order_more_than"]),
            "intervals from pairs that miss, %": (
                verification.missed(every, "pairs"), "above", limits["pairs_miss_more_than"]),
            "intervals from people that miss, %": (
                verification.missed(every, "people"), "below", limits["people_miss_less_than"]),
        }  # fmt: skip
        return [
            Finding(name, 100.0 * flags, kind, 100 * limit, "share") for name, (flags, kind, limit) in shares.items()
        ]

    return Claim({"01_verification": settings}, read, "tests")


@of("02_ethics")
def _ethics() -> Claim:
    limits = ethics.SETTINGS

    def read(tables: Tables) -> list[Finding]:
        table = tables["02_ethics"]
        few, half = (ethics.log_ratio(table, arm) for arm in ("few", "half"))
        camera = (ethics.frr_gap(table, "half, blurred") - ethics.frr_gap(table, "half")).dropna()
        return [
            Finding("log of FAR B / A, few", few, "above", math.log(limits["ratio_more_than"])),
            Finding("log of FAR of B, few / half", ethics.rise_of_b(table).dropna(), "above"),
            Finding("log of FAR B / A, half", half, "within", math.log(limits["even_within"])),
            Finding("FRR of B - A, camera", camera, "above", 100 * limits["camera_more_than"]),
        ]

    return Claim({"02_ethics": [ethics.setting(arm) for arm in ("few", "half", "half, blurred")]}, read, scales=(8,))


@of("03_softmax")
def _softmax() -> Claim:
    def read(tables: Tables) -> list[Finding]:
        after, limits = softmax.changes(tables["03_softmax"]), softmax.CLAIMED
        change = 100 * after["accuracy_change"]
        return [
            Finding("held-out accuracy, change", change, "within", 100 * limits["accuracy_change"]),
            Finding("growth of ‖x‖, factor", after["x_growth"], "above", limits["x_growth"]),
            Finding("growth of ‖w‖, factor", after["w_growth"], "above", limits["w_growth"]),
            Finding("outwards / sideways", after["radial_over_angular"], "above", limits["radial_over_angular"]),
        ]

    return Claim({"03_softmax": [softmax.setting()]}, read, "digits")


@of("04_contrastive")
def _contrastive() -> Claim:
    own = [contrastive.own(loss) for loss in contrastive.CHOSEN]
    common = [one | {"lr": contrastive.COURSE_LR} for one in own]

    def read(tables: Tables) -> list[Finding]:
        table = tables["04_contrastive"]
        gains, at_one = (contrastive.gains(table, common=c) for c in (False, True))
        label = contrastive.LABELS
        names = [f"{label[a]} - {label[b]}" for a in contrastive.PAIRS for b in contrastive.NAMED]
        called = dict(zip(gains, names, strict=True))
        found = [Finding(f"EER, {called[name]}, own rates", values, "below", 0.3) for name, values in gains.items()]
        found += [
            Finding(f"time over NormFace's, %, {label[loss]}", 100 * values, "below", 10)
            for loss, values in contrastive.times(table).items()
        ]
        gone = {name: (gains[name] - at_one[name]).dropna() for name in gains if "normface" in name}
        return found + [Finding(f"EER, {called[name]}, own rates less 0.004", gone[name], "above") for name in gone]

    return Claim({"04_contrastive": [*own, *common, contrastive.setting("normface")]}, read, scales=(8,))


@of("05_triplet")
def _triplet() -> Claim:
    pairs = [(k, margin) for margin in triplet.SETTINGS["margins"] for k in triplet.SETTINGS["drawn"]]
    long = [triplet.setting(f"of {k}", epochs=triplet.SETTINGS["long"]["epochs"]) for k in (1, 124)]

    def read(tables: Tables) -> list[Finding]:
        table, found = tables["05_triplet"], []
        for margin in triplet.SETTINGS["margins"]:
            every, at = (lambda k, m=margin: triplet.nearest_of(k, m)), f"α {margin:g}"
            for a, b in pairwise(triplet.SETTINGS["drawn"]):
                more = triplet.difference(table, "active", every(b), every(a))
                found.append(Finding(f"active %, nearest of {b} - of {a}, {at}", more, "above"))
            best = triplet.choose(table, margin)
            for name, k in (("random", 1), ("hardest", 124)):
                gap = triplet.difference(table, "eer", every(k), every(best))
                found.append(Finding(f"EER, {name} - nearest of {best}, {at}", gap, "above"))
        return [*found, Finding("EER, hardest - random, 24 epochs", triplet.catches_up(table), "below")]

    return Claim({"05_triplet": [*(triplet.nearest_of(*one) for one in pairs), *long]}, read)


@of("06_center")
def _center() -> Claim:
    settings = [center.setting(weight) for weight in center.SETTINGS["weights"]]

    def read(tables: Tables) -> list[Finding]:
        *ratios, fall, rise = center.differences(tables["06_center"]).items()
        found = [Finding(f"within / between, λ {name.removeprefix('ratio, ')}", x, "below") for name, x in ratios]
        found.append(Finding("EER, λ " + fall[0].removeprefix("EER fall, "), fall[1], "below"))
        return [*found, Finding("EER, λ " + rise[0].removeprefix("EER rise, "), rise[1], "above")]

    return Claim({"06_center": settings}, read)


def scales(table: Table) -> list[Finding]:
    """Of chapter 07."""
    return [
        *(Finding(f"EER, s {s} - 8", l2_softmax.difference(table, "eer", s, 8).dropna(), "above") for s in (1, 32, 64)),
        Finding("EER, s 4 - 8, change from 8 to 24 epochs", l2_softmax.shift(table, 4).dropna(), "below"),
        Finding("EER, s 16 - 8, change from 8 to 24 epochs", l2_softmax.shift(table, 16).dropna(), "above"),
    ]


@of("07_l2_softmax")
def _l2_softmax() -> Claim:
    long = l2_softmax.SETTINGS["long"]
    settings = [l2_softmax.setting(s) for s in l2_softmax.SETTINGS["scales"]]
    settings += [l2_softmax.setting(s, long["epochs"]) for s in long["scales"]]
    read = lambda tables: scales(tables["07_l2_softmax"])  # noqa: E731
    return Claim({"07_l2_softmax": settings}, read, scales=tuple(l2_softmax.SETTINGS["scales"]))


def norms(table: Table) -> list[Finding]:
    """Of chapter 08."""
    near, above, free = ring.differences(table)
    limit = 0.3  # fixed by the chapter before its first run
    return [
        *(Finding(f"EER, {name}", values, "within", limit) for name, values in near.items()),
        *(Finding(f"EER, {name}", values, "above") for name, values in above.items()),
        *(Finding(f"EER, {name}", values, "below", limit) for name, values in free.items()),
    ]


@of("08_ring")
def _ring() -> Claim:
    settings = [ring.setting("late", ring.CHOSEN), *(one for radius in (8, 32) for one in ring.controls(radius))]
    return Claim({"08_ring": settings}, lambda tables: norms(tables["08_ring"]))


@of("09_lgm")
def _lgm() -> Claim:
    arms = [(dim, arm) for dim in (2, 16) for arm in ("L-GM", f"rate × {lgm.QUICK}")]
    arms += [(16, arm) for arm in ("softmax", "center", "λ = 1")]

    def read(tables: Tables) -> list[Finding]:
        table = tables["09_lgm"]
        found = [Finding("AUROC, learnt likelihood, d 2", lgm.column(table, 2, "L-GM", "own"), "below", 0.5)]
        for dim in (2, 16):
            found.append(Finding(f"AUROC, refitted - learnt, d {dim}", lgm.lost(table, dim), "above"))
            found.append(
                Finding(f"AUROC, five times the rate, less half the gap, d {dim}", lgm.most(table, dim), "above")
            )
        rival, plain = (lgm.against(table, base) for base in ("center", "softmax"))
        return [
            *found,
            Finding("AUROC, L-GM - softmax with center loss", rival, "within", 0.02),
            Finding("AUROC, L-GM - softmax", plain, "above"),
        ]

    return Claim({"09_lgm": [lgm.arms(dim)[arm] for dim, arm in arms]}, read, "digits")


@of("10_sphereface")
def _race() -> Claim:
    both = (8, 32)
    settings = [sphereface.setting(s, length, 2, 1, how) for length, how in sphereface.RACES.values() for s in both]

    def read(tables: Tables) -> list[Finding]:
        found = []
        for race, (length, schedule) in sphereface.RACES.items():
            for s in both:
                one = rows(tables["10_sphereface"], sphereface.setting(s, length, 2, 1, schedule))
                kind = "below" if race == "at once" else "above"
                name = f"training images named, %, {race}, s {s}"
                found.append(Finding(name, 100 * one["train_accuracy"], kind, 50.0, "every"))
        return found

    return Claim({"10_sphereface": settings}, read, scales=both)


@of("10_sphereface")
def _margin_most() -> Claim:
    ways, both = list(sphereface.WAYS)[:3], (sphereface.ENDS[0], sphereface.ENDS[-1])

    def read(tables: Tables) -> list[Finding]:
        shares = sphereface.shares(tables["10_sphereface"])
        part = {name: points.mean(axis=1) for name, points in shares.items()}
        rest = (part["margin"] - part["annealing"] - part["scale"]).dropna()
        return [Finding("TAR@1e-3, margin - annealing - scale", rest, "above")]

    return Claim({"10_sphereface": [sphereface.along(way, end) for way in ways for end in both]}, read, scales=(8,))


@of("11_cosface")
def _cosface() -> Claim:
    last, endless = cosface.ASKED[-1], cosface.ENDLESS
    settings = [cosface.on_digits(s, margin) for s in cosface.SCALES for margin in (0.191, endless)]
    for s in cosface.SCALES:
        settings += [cosface.setting("faces", "cosface", s, margin) for margin in (0.0, endless)]
        settings += [cosface.matched(loss, s, last) for loss in cosface.KINDS[:3]]

    def read(tables: Tables) -> list[Finding]:
        table, found = tables["11_cosface"], []
        for s in cosface.SCALES:
            found.append(
                Finding(f"accuracy, digits, m 0.191 - m 1000, s {s}", cosface.drop(table, s).dropna(), "above")
            )
            kept = {"CosFace m 1000": cosface.setting("faces", "cosface", s, endless)}
            kept |= {f"{figures.NAMES[loss]} {last} rad": cosface.matched(loss, s, last) for loss in cosface.KINDS[:3]}
            for name, one in kept.items():
                kind = "below" if "CosFace" in name else "above"
                worse = cosface.loss_of(table, one).dropna()
                found.append(Finding(f"EER, {name} - none, s {s}", worse, kind, 1.0, "every"))
        return found

    lr = faces.SETTINGS["training"]["lr"], cosface.SETTINGS["digits"]["training"]["lr"]
    return Claim({"11_cosface": settings}, read, "both", tuple(cosface.SCALES), lr)


@of("12_arcface")
def _arcface() -> Claim:
    settings = [arcface.setting(loss, s) for s in arcface.SCALES for loss in ("normface", "arcface")]

    def read(tables: Tables) -> list[Finding]:
        gains = {s: arcface.gain(tables["12_arcface"], "arcface", s) for s in arcface.SCALES}
        return [Finding(f"EER, NormFace - ArcFace, s {s}", values, "above") for s, values in gains.items()]

    return Claim({"12_arcface": settings}, read, scales=tuple(arcface.SCALES))


@of("13_margins")
def _margins() -> Claim:
    settings = [margins.setting(loss) for loss in ("cosface", "arcface")]
    elsewhere = [arcface.setting(loss, 32) for loss in ("normface", "arcface", "cosface_matched")]

    def read(tables: Tables) -> list[Finding]:
        gap = 100 * paired(tables["13_margins"], "eer", margins.setting("cosface"), margins.setting("arcface"))
        gains = [arcface.gain(tables["12_arcface"], loss, 32) for loss in ("arcface", "cosface_matched")]
        return [
            Finding("EER, CosFace - ArcFace, s 8", gap, "above"),
            Finding("EER, CosFace - ArcFace, s 32", (gains[0] - gains[1]).dropna(), "above"),
        ]

    return Claim({"13_margins": settings, "12_arcface": elsewhere}, read, scales=(8, 32))


@of("14_hard_negatives")
def _hard_negatives() -> Claim:
    both = hard_negatives.SCALES
    settings = [hard_negatives.varied(arm, s) for s in both for arm in ("arcface", "mv", "curricular")]

    def read(tables: Tables) -> list[Finding]:
        trade = hard_negatives.trade(tables["14_hard_negatives"])
        price, none = (
            {name.replace(", ", " - ArcFace, "): x for name, x in trade[k].items()} for k in ("price", "none")
        )
        found = [Finding(f"EER, {name}", x, "above") for name, x in price.items()]
        return found + [Finding(f"TAR@1e-3, {name}", x, "below", 1.0) for name, x in none.items()]

    return Claim({"14_hard_negatives": settings}, read, scales=tuple(both))


@of("15_circle")
def _circle() -> Claim:
    few, strong = circle.SETTINGS["scales"]
    settings = circle.main_arms(few) + [circle.shared(arm, strong) for arm in ("circle", "frozen")]
    settings += [circle.chosen(arm, strong) for arm in ("constant", "frozen")]

    def read(tables: Tables) -> list[Finding]:
        found = circle.claims(tables["15_circle"])
        limits = {"along": ("above", -0.01), "gain": ("above", 0.0), "tar": ("above", -3.0), "eer": ("below", 0.3)}
        return [Finding(name, values, *limits[kind]) for kind, parts in found.items() for name, values in parts.items()]

    return Claim({"15_circle": settings}, read, scales=(few, strong))


@of("16_discface")
def _discface() -> Claim:
    arms = ("arcface", "pull", "discface")
    settings = [discface.setting(arm, s, discface.FEW) for s in (32, 8) for arm in arms]

    def read(tables: Tables) -> list[Finding]:
        table = tables["16_discface"]
        seen, added = discface.differences(table)
        found = [Finding(name, values, "above") for name, values in seen.items()]
        for s in (32, 8):
            base, disc = (discface.setting(arm, s, discface.FEW) for arm in ("arcface", "discface"))
            gain = discface.difference(table, base, disc)
            found.append(Finding(f"EER, ArcFace - DiscFace, s = {s}, {discface.FEW} images", gain, "above"))
        bounded = {name: both for name, both in added.items() if "no bound" not in name}
        return found + [Finding(name, values, "within", limit) for name, (values, limit) in bounded.items()]

    return Claim({"16_discface": settings}, read, scales=(8, 32))


@of("17_npcface")
def _npcface() -> Claim:
    both, links = tuple(map(int, npcface.SETTINGS["scales"])), npcface.LINKS
    looks = (*npcface.NUISANCES, "all", "training", "fresh")
    settings = [npcface.setting(arm, s, look=look) for s in both for arm in ("arcface", "npc") for look in looks]
    for s in both:
        settings += [npcface.setting(link, s) for link in ("npc", "inverted")]
        settings += [npcface.setting(link, s, 0.8) for link in links]
    settings.append(npcface.setting("less"))

    def read(tables: Tables) -> list[Finding]:
        table, bounds, limits = tables["17_npcface"], npcface.SETTINGS["bounds"], npcface.LIMITS
        nearer = npcface.every_look(table, "nearer")
        r, own, one = (npcface.every_look(table, name, trained_on=True) for name in ("r", "r_mask", "r_fixed"))
        found = [Finding("others come nearer, cosine", x, "below", bounds["nearer"]) for x in nearer]
        found += [Finding("correlation in the pictures", x, "below", limits["r"]) for x in r]
        found += [Finding("the same, one bar for all", x, "below", limits["r_fixed"]) for x in one]
        found += [Finding("correlation by the mask", x, "above") for x in own]
        more = [(a - b).dropna() for a, b in zip(own, one, strict=True)]
        found += [Finding("mask less one bar for all", x, "above") for x in more]
        found += [Finding("correlation of margin and hardness", x, "below") for x in npcface.backwards(table)]
        for m1 in (0.2, 0.8):
            same = npcface.difference(table, "eer", "inverted", 8, m1)
            found.append(Finding(f"EER, inverted - NPCFace, s 8, m1 {m1}", same, "within", bounds["eer"]))
        gain = npcface.difference(table, "tar_1e3", "inverted", 8, 0.8)
        found.append(Finding("TAR@1e-3, inverted - NPCFace, s 8, m1 0.8", gain, "above"))
        seen = [npcface.difference(table, rate, "less", 8, 0.2) for rate in ("eer", "tar_1e3")]
        found.append(Finding("EER, less margin - NPCFace, s 8", seen[0], "above"))
        found.append(Finding("TAR@1e-3, less margin - NPCFace, s 8", seen[1], "above", bounds["tar_1e3"]))
        wanted = {"npc": ("below", -0.5), "shuffled": ("within", 0.2), "inverted": ("above", 0.5)}
        for s in both:
            for link, m1 in (("npc", 0.2), ("inverted", 0.2), *((link, 0.8) for link in links)):
                r_hard, sd = (npcface.values(table, f"{n}_quarter", link, s, "pairs", m1) for n in ("r_hard", "sd"))
                found.append(Finding(f"correlation in training, {link}", r_hard, *wanted[link]))
                found.append(Finding("scatter of the margins over m1", sd / m1, "above", 1 / 20))
        return found

    return Claim({"17_npcface": settings}, read, scales=both)


@of("18_quality")
def _quality() -> Claim:
    arms = ("softmax", "arcface", *quality.MADE_FOR_IT)
    unseen = [quality.setting(arm, "unseen") for arm in ("softmax", "magface")]

    def read(tables: Tables) -> list[Finding]:
        table, limit = tables["18_quality"], quality.SETTINGS["limit"]
        found = []
        for arm in arms:
            gains = [quality.gain(table, quality.setting(arm), score) for score in ("norm", "random")]
            name = figures.NAMES[arm] if arm == "softmax" else quality.called(arm)
            found.append(Finding(f"gain in EER %, norm - chance, {name}", (gains[0] - gains[1]).dropna(), "above"))
        for name, values in quality.comparisons(table).items():
            found.append(Finding(f"gain in EER %, norm, {name.replace(', ', ' - Softmax, ')}", values, "below", limit))
        for one in unseen:
            name = f"gain in EER %, norm, {figures.NAMES[one['arm']]}, unseen"
            found.append(Finding(name, quality.gain(table, one), "below", limit))
        seen = rows(table, quality.long("magface"))
        off = seen["fit_norm"] - seen["fit_rest"]
        return [
            *found,
            Finding("MagFace: norm and where it rests, correlation", seen["fit_agree"], "above", 0.3),
            Finding("MagFace: norm - where it rests", off, "within", 0.5, "every"),
            Finding("gain in EER %, norm, Softmax, unseen - seen", quality.control(table), "below", -limit),
        ]

    settings = [*map(quality.setting, arms), *unseen, quality.long("magface")]
    return Claim({"18_quality": settings}, read, scales=(8, 32))


@of("19_training")
def _training() -> Claim:
    """Which steps are the largest is taken from the screen in the stored table; their confirmation is run again."""
    arms = ("recipe", "loss", "rate", "epochs", "names")

    def read(tables: Tables) -> list[Finding]:
        more = training.confirmed(tables["19_training"])
        return [Finding(f"EER, giving up {name} - margin", x, "above") for name, x in more.items()]

    return Claim({"19_training": [training.arm(name) for name in arms]}, read, scales=(8,), lr=(4e-3, 1.6e-2))


@of("20_scale")
def _scale() -> Claim:
    settings = [scale.setting(arm, s) for s in scale.SCALES for arm in ("full", "sampled")]

    def read(tables: Tables) -> list[Finding]:
        gaps = {s: scale.less_full(tables["20_scale"], "sampled", s) for s in scale.SCALES}
        limit = scale.SETTINGS["limit"]
        return [Finding(f"EER, a tenth of the classes - all, s {s}", x, "above", limit) for s, x in gaps.items()]

    return Claim({"20_scale": settings}, read, scales=scale.SCALES)


@of("21_capstone")
def _capstone() -> Claim:
    """What shipping cost. How many losses are told apart was read off the finals, and is not asked again."""

    def read(tables: Tables) -> list[Finding]:
        behind = capstone.lead(tables["21_capstone"])
        return [Finding("EER, shipped - bold number", behind, "below", capstone.BOUND)]

    settings = [capstone.setting(loss) for loss in (capstone.SHIPPED, capstone.RIVAL)]
    rates = {protocol.rate(loss) for loss in (capstone.SHIPPED, capstone.RIVAL)}
    return Claim({"21_capstone": settings}, read, lr=tuple(sorted(rates)))


# ---- the new rows ---------------------------------------------------------------------------------------------------


def wanted(chapter: str) -> list[tuple[str, Setting]]:
    """The rows of a chapter's claims: the chapter whose module runs each, and its setting there."""
    found: list[tuple[str, Setting]] = []
    for claim in CLAIMS[chapter]:
        found += [(name, one) for name, settings in claim.needs.items() for one in settings]
    return [pair for place, pair in enumerate(found) if pair not in found[:place]]


def seeds_of(name: str, setting: Setting) -> Sequence[int]:
    return TESTS[setting["stage"]] if name == "01_verification" else SEEDS


def grid(chapters: Iterable[str] = CLAIMS) -> Iterator[tuple[str, Setting, int]]:
    """All rows, a chapter at a time and in it a whole seed, so that its people are drawn once."""
    for chapter in chapters:
        pairs = [(name, one, seed) for name, one in wanted(chapter) for seed in seeds_of(name, one)]
        yield from sorted(pairs, key=lambda pair: pair[2])


def measure(name: str, setting: Setting, seed: int, budget: str = "full") -> dict[str, Any]:
    """One training by the chapter's own module: its numbers; of chapter 03, which follows its nets, lists of them."""
    module = MODULES[name]
    if name == "08_ring":  # its own measurement trains a second net beside each
        return faces.measure(module.train(setting, seed, budget), seed, budget)
    found = module.run(dict(setting), seed, budget)
    if name == "03_softmax":
        return {number: [row[number] for row in found] for number in found[0]}
    return dict(found[-1] if isinstance(found, list) else found)


def words(setting: Setting) -> str:
    """A setting as it stands in the table."""
    return json.dumps(setting, ensure_ascii=False)


def rounded(numbers: dict[str, Any]) -> str:
    """Numbers as they stand in the table, with six digits."""
    short = lambda x: float(f"{float(x):.6g}")  # noqa: E731
    return json.dumps({name: [*map(short, x)] if isinstance(x, list) else short(x) for name, x in numbers.items()})


def of_chapter(table: Table, name: str) -> Table:
    """The new rows of a chapter in the form of its own table, so that its own functions read them."""
    found: list[dict[str, Any]] = []
    for row in table[table["chapter"] == name].to_dict("records"):
        own, numbers = json.loads(row["setting"]) | {"seed": row["seed"]}, json.loads(row["numbers"])
        lists = [x for x in numbers.values() if isinstance(x, list)]
        for place in range(len(lists[0]) if lists else 1):
            found.append(own | {n: x[place] if isinstance(x, list) else x for n, x in numbers.items()})
    return pd.DataFrame(found)


@lru_cache(maxsize=32)
def stored(name: str) -> Table:
    """A chapter's own table."""
    return lesson.results(name, MODULES[name].SETTINGS)


def read(claim: Claim, new: Table | None = None) -> list[Finding]:
    """Its comparisons, from the stored tables and, where there are any, from new rows."""
    tables = {}
    for name in claim.needs:
        fresh = of_chapter(new, name) if new is not None else pd.DataFrame()
        tables[name] = pd.concat([stored(name), fresh], ignore_index=True) if len(fresh) else stored(name)
    return [one._replace(values=one.values.dropna()) for one in claim.read(tables)]


def complete(claim: Claim, new: Table) -> bool:
    """Are all of its new rows there?"""
    there = set(zip(new["chapter"], new["setting"], new["seed"], strict=True))
    needs = [(name, one) for name, settings in claim.needs.items() for one in settings]
    return all((name, words(one), seed) in there for name, one in needs for seed in seeds_of(name, one))


def new_seeds(name: str, finding: Finding) -> int:
    """How many new seeds a comparison gets: in chapter 01 by which kind of test it is about."""
    return len(TESTS["open" if "lists" in finding.name else "all"]) if name == "01_verification" else len(SEEDS)
