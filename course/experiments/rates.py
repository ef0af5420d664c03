"""Do the chapters' claims stand at a better learning rate? Their decisive rows again, at the rate found for each loss.

The chapters on faces train with AdamW at a peak of 4e-3. The protocol (`experiments/protocol.py`) found on people of
`tune` that most losses are trained better by a larger one. Here the rows that a chapter's claim rests on are trained
anew by that chapter's own module, with seeds that nothing was chosen on, at the rate which the protocol found for the
chapter's loss. All arms of a chapter have that one rate, so that what the chapter varies is still all that varies.
Margins, scales and weights are those that were chosen at 4e-3. Chapters share some trainings (NormFace at one scale):
the stored table has these once, under each name.

    python tools/protocol.py      # trains what is missing of results/rates.csv too, after the protocol's own tables

`READ` says what is compared, with the limits of the chapter's own verdict (`Finding`, of `experiments/claims.py`);
`verdict` reads each comparison by one rule. Both were written before the first run; `course/en/protocol.md` says what
was added later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pandas as pd
from experiments import (
    arcface,
    center,
    claims,
    cosface,
    ethics,
    faces,
    l2_softmax,
    margins,
    protocol,
    ring,
    sphereface,
    triplet,
)
from experiments.claims import Finding, Table
from experiments.faces import Setting, paired, rows

from facelearn import figures, lesson

MODULES: dict[str, ModuleType] = {
    one.CHAPTER: one for one in (ethics, triplet, center, l2_softmax, ring, sphereface, cosface, arcface, margins)
}
LOSSES = {  # whose rate a chapter takes
    "02_ethics": "cosface",
    "05_triplet": "triplet",
    "06_center": "center",
    "07_l2_softmax": "normface",
    "08_ring": "ring",
    "10_sphereface": "sphereface",
    "11_cosface": "cosface",
    "12_arcface": "arcface",
    "13_margins": "arcface",
}
SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "rates": {chapter: protocol.rate(loss) for chapter, loss in LOSSES.items()},
    "seeds": [7201, 7202, 7203],
}
SCALES = (8, 32)
#: What is kept of a run, where its chapter measures it.
NUMBERS = ("eer", "tar_1e3", "train_accuracy", "open_ratio", "far_a", "far_b", "frr_a", "frr_b")


@contextmanager
def at(lr: float) -> Iterator[None]:
    """Every training within has this peak of the learning rate: the chapters share one dict, `SETTINGS["training"]`."""
    training, before = faces.SETTINGS["training"], faces.SETTINGS["training"]["lr"]
    training["lr"] = lr
    try:
        yield
    finally:
        training["lr"] = before


# ---- which rows -----------------------------------------------------------------------------------------------------


def decisive() -> Iterator[tuple[str, Setting]]:
    """Chapter, and a row's setting in that chapter's own table."""
    yield from (("02_ethics", ethics.setting(arm)) for arm in ("few", "half", "half, blurred"))
    yield from (("05_triplet", triplet.nearest_of(k)) for k in (1, 64, 124))
    yield from (("06_center", center.setting(weight)) for weight in (0.0, center.CHOSEN, center.STRONG))
    yield from (("07_l2_softmax", l2_softmax.setting(s)) for s in (1, 8, 32))
    softmax, _, _, strong, division = ring.controls(8)
    yield from (("08_ring", one) for one in (ring.setting("late", ring.CHOSEN), softmax, strong, division))
    for length, schedule in sphereface.RACES.values():
        yield "10_sphereface", sphereface.setting(8, length, 2, 1, schedule)
    yield from (("10_sphereface", one) for one in (sphereface.REVIVED, sphereface.along("‖x‖, annealed", (2, 2.2))))
    for scale in SCALES:
        yield from (("11_cosface", cosface.setting("faces", "cosface", scale, m)) for m in (0.0, cosface.ENDLESS))
        yield "11_cosface", cosface.matched("arcface", scale, cosface.ASKED[-1])
        losses = ("normface", "arcface", "arcface_detached")
        yield from (("12_arcface", arcface.setting(loss, scale)) for loss in losses)
    yield "11_cosface", cosface.matched("arcface_detached", 32, cosface.ASKED[-1])
    yield "12_arcface", arcface.setting("cosface_matched", 32)  # for chapter 13
    kinds = ("normface", "sphereface", "cosface", "arcface")
    yield from (("13_margins", margins.setting(loss)) for loss in kinds)


def grid() -> Iterator[tuple[Setting, int]]:
    """A whole seed at a time, so that its people are drawn once."""
    for seed in SETTINGS["seeds"]:
        for chapter, setting in decisive():
            yield {"chapter": chapter, "setting": json.dumps(setting), "lr": SETTINGS["rates"][chapter]}, seed


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table, trained and measured by the chapter's own module."""
    chapter, setting = wanted["chapter"], json.loads(wanted["setting"])
    with at(wanted["lr"]):
        own = {"lr": wanted["lr"]} if chapter == "05_triplet" else {}  # there the rate stands in the setting
        found = claims.measure(chapter, setting | own, seed, budget)
    return {name: found[name] for name in NUMBERS if name in found}


def of_chapter(table: pd.DataFrame, chapter: str) -> pd.DataFrame:
    """The rows of a chapter in the form of its own table, so that its own functions read them."""
    mine = table[table["chapter"] == chapter].reset_index(drop=True)
    settings = pd.DataFrame([json.loads(text) for text in mine["setting"]])
    if chapter == "05_triplet":
        settings["epoch"] = settings["epochs"]
    return pd.concat([settings, mine.drop(columns=["chapter", "setting", "lr"])], axis=1)


# ---- what is compared -----------------------------------------------------------------------------------------------


def _ethics(table: Table, _: Table) -> list[Finding]:
    limits = ethics.SETTINGS
    camera = ethics.frr_gap(table, "half, blurred") - ethics.frr_gap(table, "half")
    return [
        Finding("log of FAR B / A, few", ethics.log_ratio(table, "few"), "above", math.log(limits["ratio_more_than"])),
        Finding("log of FAR B / A, half", ethics.log_ratio(table, "half"), "within", math.log(limits["even_within"])),
        Finding("FRR of B - A, camera", camera.dropna(), "above", 100 * limits["camera_more_than"]),
    ]


def _triplet(table: Table, _: Table) -> list[Finding]:
    best, ends = triplet.nearest_of(64), {"random": triplet.nearest_of(1), "hardest": triplet.nearest_of(124)}
    gaps = {name: triplet.difference(table, "eer", end, best) for name, end in ends.items()}
    found = [Finding(f"EER, {name} - nearest of 64", gap, "above") for name, gap in gaps.items()]
    return [*found, Finding("EER, hardest - random, 24 epochs", triplet.catches_up(table), "below")]


def _center(table: Table, _: Table) -> list[Finding]:
    none, some, strong = (center.setting(weight) for weight in (0.0, center.CHOSEN, center.STRONG))
    steps = {"0.03 - 0": (some, none), "0.3 - 0.03": (strong, some)}
    ratios = {name: paired(table, "open_ratio", *pair) for name, pair in steps.items()}
    fall, rise = list(center.differences(table).values())[-2:]
    frozen = 100 * paired(table, "eer", some, center.setting(center.CHOSEN, center.SETTINGS["frozen"]))
    return [
        *(Finding(f"within / between, λ {name}", values, "below") for name, values in ratios.items()),
        Finding("EER, λ 0.03 - 0", fall, "below"),
        Finding("EER, λ 0.3 - 0.03", rise, "above"),
        Finding("EER, λ 0.3 - 0", 100 * paired(table, "eer", strong, none), "above"),
        Finding("EER, λ 0.03, moving - frozen centres", frozen, "below"),
    ]


def _sphereface(table: Table, _: Table) -> list[Finding]:
    found = []
    for race, (length, schedule) in sphereface.RACES.items():
        for scale in (8, 32):
            named = 100 * rows(table, sphereface.setting(scale, length, 2, 1, schedule))["train_accuracy"]
            kind = "below" if race == "at once" else "above"
            found.append(Finding(f"training images named, %, {race}, s {scale}", named, kind, 50.0))
    ends = sphereface.along("‖x‖, annealed", sphereface.ENDS[-1]), sphereface.REVIVED
    found.append(Finding("TAR@1e-3, the whole way", 100 * paired(table, "tar_1e3", *ends), "above"))
    part = {name: points.mean(axis=1) for name, points in sphereface.shares(table).items()}
    rest = part["margin"] - part["annealing"] - part["scale"]
    found.append(Finding("TAR@1e-3, margin - annealing - scale", rest, "above"))
    return found


def _cosface(table: Table, _: Table) -> list[Finding]:
    found = []
    for s in cosface.SCALES:
        endless = cosface.loss_of(table, cosface.setting("faces", "cosface", s, 1000.0))
        found.append(Finding(f"EER, CosFace m 1000 - none, s {s}", endless, "below", 1.0))
        for loss in cosface.KINDS[1:]:
            worse = cosface.loss_of(table, cosface.matched(loss, s, cosface.ASKED[-1]))
            kind = "below" if loss.endswith("detached") else "above"
            name = figures.NAMES[loss.removesuffix("_detached")] + ", detached" * loss.endswith("detached")
            found.append(Finding(f"EER, {name} 1.2 rad - none, s {s}", worse, kind, 1.0))
    return found


def _arcface(table: Table, _: Table) -> list[Finding]:
    gains = {s: arcface.gain(table, "arcface", s) for s in arcface.SCALES}
    slope = {s: gains[s] - arcface.gain(table, "arcface_detached", s) for s in arcface.SCALES}
    return [
        *(Finding(f"EER, NormFace - ArcFace, s {s}", values, "above") for s, values in gains.items()),
        *(Finding(f"EER, detached - ArcFace, s {s}", values, "above") for s, values in slope.items()),
        *(Finding(f"EER, NormFace - detached, s {s}", gains[s] - slope[s], "above") for s in (32, 64)),
    ]


def _margins(table: Table, twelve: Table) -> list[Finding]:
    gap = 100 * paired(table, "eer", margins.setting("cosface"), margins.setting("arcface"))
    larger = arcface.gain(twelve, "arcface", 32) - arcface.gain(twelve, "cosface_matched", 32)
    tar = 100 * paired(table, "tar_1e3", margins.setting("sphereface"), margins.setting("normface"))
    return [
        Finding("EER, CosFace - ArcFace, s 8", gap, "above"),
        Finding("EER, CosFace - ArcFace, s 32", larger, "above"),
        Finding("TAR@1e-3, SphereFace-R - NormFace, s 8", tar, "below"),
    ]


READ = {
    "02_ethics": _ethics,
    "05_triplet": _triplet,
    "06_center": _center,
    "07_l2_softmax": lambda table, _: claims.scales(table),
    "08_ring": lambda table, _: claims.norms(table),
    "10_sphereface": _sphereface,
    "11_cosface": _cosface,
    "12_arcface": _arcface,
    "13_margins": _margins,
}


def compared(table: pd.DataFrame) -> dict[str, list[tuple[Finding, Finding]]]:
    """Of each chapter its comparisons: as its own table has them, at 4e-3, and at each loss's own rate."""
    found = {}
    for chapter, read in READ.items():
        stored = [lesson.results(name, MODULES[name].SETTINGS) for name in (chapter, "12_arcface")]
        anew = [of_chapter(table, name) for name in (chapter, "12_arcface")]
        pairs = zip(read(*stored), read(*anew), strict=True)
        found[chapter] = [(before, now) for before, now in pairs if len(now.values)]  # not every row was run again
    return found


def verdict(before: Finding, now: Finding) -> str:
    """How a comparison stands at its own rate; one rule for all, written down before the first run.

    "stands"   the interval lies where the claim needs it
    "weaker"   it does, but the mean is less than half as far from 0 as it was, where the claim needs a size
    "open"     the interval holds the limit: at this rate and with these seeds neither shown nor refuted
    "falls"    the interval lies wholly on the other side of the limit
    """
    ends = claims.ends(now.values)
    if not claims.claimed(*ends, now.kind, now.limit):
        return "falls" if claims.refuted(*ends, now.kind, now.limit) else "open"
    sized = now.limit == 0 or now.kind == "above"
    return "weaker" if sized and abs(now.values.mean()) < abs(before.values.mean()) / 2 else "stands"
