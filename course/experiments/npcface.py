"""Chapter 17: do hard positives and hard negatives come together, and does a margin that links them matter?

Settings of the losses (margins, learning rate) were chosen on the split "tune"; all numbers are measured on people and
seeds that nothing was chosen on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from experiments import faces
from experiments.faces import Setting, Trained, paired, rows
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data import SyntheticFaces, standard
from facelearn.losses import ArcFace, NPCFace
from facelearn.losses.margin import cos_of_sum
from facelearn.training import embed

CHAPTER = "17_npcface"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "training": {**faces.SETTINGS["training"], "lr": 3.2e-2},
    "epochs": 8,
    "mask": 0.5,  # m of the mask, radians
    # of each scale: ArcFace's margin, NPCFace's m0, t and a at m1 = 0.2, and about what c̄ is in the mean of a training
    "scales": {
        "8": {"arcface": 0.6, "m0": 0.6, "t": 1.0, "a": 0.1, "mean": 0.6},
        "32": {"arcface": 0.4, "m0": 0.4, "t": 1.0, "a": 0.1, "mean": 0.5},
    },
    # strength 1 of each group, but where it takes more to spoil a picture; everything else off
    "nuisances": {
        "pose": 1, "framing": 1, "light": 1, "exposure": 1, "colour": 1, "expression": 1, "hair": 1, "glasses": 3,
        "background": 1, "blur": 3, "lowres": 1.6, "noise": 3, "occlusion": 1,
    },
    "label_noise": 0.1,
    # fixed before the run: points of EER and of TAR, about a quarter of what NPCFace gains over NormFace in the
    # course's table of all losses; a cosine, for the nearest stranger
    "bounds": {"eer": 0.15, "tar_1e3": 1.2, "nearer": 0.01},
    "low_lr": 4e-3,
    "seeds": [1700, 1701, 1702, 1703, 1704, 1705],
    "fewer_seeds": [1700, 1701, 1702, 1703, 1704],
    "low_lr_seeds": [1700, 1701, 1702],
    "live_seed": 1720,
}  # fmt: skip
NUISANCES: dict[str, float] = SETTINGS["nuisances"]
LINKS = ("npc", "shuffled", "inverted")
FRESH = (1710, 1711, 1712, 1713, 1714, 1715)  # added when the table of the planned six was there, for s = 8
LESS = 0.3  # radians: the control of the link has so much less margin for all
SHARED = {f"{name} on both sides": name for name in ("blur", "lowres", "noise", "occlusion")}
LIMITS = {"r": 0.25, "r_fixed": 0.35}  # of correlations
CROWDS = {"among 50": 50, "among 200": 200, "among 1000": 1000}


def setting(
    arm: str = "npc", scale: int = 8, m1: float = 0.2, look: str = "pairs", lr: float = SETTINGS["training"]["lr"]
) -> Setting:
    """What a row varies.

    arm   arcface: no collaborative margin; wrong labels: the same, a tenth of the labels replaced;
          npc, shuffled, inverted: NPCFace, with three ways to hand out its margins; less: npc with a smaller m0
    m1    strength of the link; m0 is set so that the mean margin stays about the same
    look  pairs: error rates over all pairs of strangers; training: the training images; fresh: other pictures of the
          same people; on both sides: strangers known from spoilt pictures, too; or strangers' fresh pictures with one
          nuisance alone, with none, with all of them, or with all and so many people to choose from
    """
    return {"arm": arm, "scale": scale, "m1": m1 if arm in (*LINKS, "less") else 0.0, "look": look, "lr": lr}


def grid() -> Iterator[tuple[Setting, int]]:
    """All that is looked at in one net stands together, so that it is trained once."""
    looks = ("pairs", "training", "fresh", "none", *NUISANCES, "all")
    for seed in SETTINGS["seeds"]:
        for scale in map(int, SETTINGS["scales"]):
            more = CROWDS if seed in SETTINGS["fewer_seeds"] else ()
            yield from ((setting("arcface", scale, look=look), seed) for look in (*looks, *SHARED, *more))
            yield from ((setting("npc", scale, look=look), seed) for look in looks)
            yield from ((setting(arm, scale), seed) for arm in ("inverted", "less"))
            yield from ((setting(link, scale, 0.8), seed) for link in LINKS)
            if seed in SETTINGS["fewer_seeds"]:
                yield setting("wrong labels", scale, look="training"), seed
        if seed in SETTINGS["low_lr_seeds"]:
            low = SETTINGS["low_lr"]
            yield from ((setting("arcface", look=look, lr=low), seed) for look in looks)
            yield from ((setting(link, m1=0.8, lr=low), seed) for link in ("npc", "inverted"))
    for seed in FRESH:
        yield from ((setting(link, m1=m1), seed) for m1 in (0.2, 0.8) for link in ("npc", "inverted"))


# ---- the loss, with the link as it is, broken, and turned round -----------------------------------------------------


class Linked(NPCFace):
    """NPCFace whose extra margins m1 c̄_i are handed out within the batch by another rule; their mean stays the same.

    link  npc: as in the paper; shuffled: at random; inverted: twice the mean less m1 c̄_i
    """

    def __init__(self, embedding_dim: int, num_classes: int, *, link: str = "npc", **keywords: Any) -> None:
        super().__init__(embedding_dim, num_classes, **keywords)
        self.link = link
        self.draws = torch.Generator().manual_seed(0)
        self.seen: list[tuple[float, ...]] = []  # of each step in training

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        hardness, count = rows
        extra = self.m1 * hardness / count.clamp(min=1)  # (B,)
        if self.link == "shuffled":
            extra = extra[torch.randperm(len(extra), generator=self.draws).to(extra.device)]
        elif self.link == "inverted":
            extra = 2 * extra.mean() - extra
        if self.training:
            hard = count > 0
            found = correlation(extra, -cos.detach()), correlation(extra[hard], -cos.detach()[hard])
            self.seen.append((*found, float(hard.float().mean()), float(extra.mean()), float(extra.std())))
        return torch.where(cos > 0, cos_of_sum(cos, self.m0 + extra, "plain"), cos)


def make(wanted: Setting, dim: int, classes: int) -> Any:
    """The loss of one row."""
    own = SETTINGS["scales"][str(wanted["scale"])]
    if wanted["arm"] in ("arcface", "wrong labels"):
        return ArcFace(dim, classes, scale=wanted["scale"], margin=own["arcface"])
    given = {"m0": own["m0"] + (0.2 - wanted["m1"]) * own["mean"], "m1": wanted["m1"], "t": own["t"], "a": own["a"]}
    link = wanted["arm"] if wanted["arm"] in LINKS else "npc"
    given["m0"] -= LESS if wanted["arm"] == "less" else 0.0
    return Linked(dim, classes, link=link, scale=wanted["scale"], margin=SETTINGS["mask"], **given)


# ---- how hard images are --------------------------------------------------------------------------------------------


class Hardness(NamedTuple):
    """Of each image, (N,): all from its cosines with the classes."""

    p: Tensor  # cosine to its own class: low is a hard positive
    n: Tensor  # largest cosine to another class: high is a hard negative
    bar: Tensor  # cos(θ + m), above which a negative is hard
    many: Tensor  # how many negatives are
    mean: Tensor  # c̄, the mean of their cosines; 0 where there are none
    fixed: Tensor  # how many negatives lie above ONE bar, the mean of all


def hardness(cos: Tensor, labels: Tensor, m: float = SETTINGS["mask"]) -> Hardness:
    """How hard images are for their classes.  (N, C), (N,)"""
    own = labels[:, None]
    p = cos.gather(1, own)[:, 0].clamp(-1, 1)
    others = cos.scatter(1, own, -2.0)
    bar = (p.arccos() + m).cos()
    hard = others > bar[:, None]
    count = hard.sum(1).to(cos.dtype)
    mean = torch.where(hard, others, 0.0).sum(1) / count.clamp(min=1)
    return Hardness(p, others.amax(1), bar, count, mean, (others > bar.mean()).sum(1).to(cos.dtype))


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's r; 0 where there is nothing to correlate."""
    if len(a) < 3 or float(a.std()) < 1e-9 or float(b.std()) < 1e-9:
        return 0.0
    return float(torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1])


def elsewhere(x: Tensor, own: Tensor, seed: int) -> Tensor:
    """The same cosine to the own class, but the rest of the embedding points anywhere.  (N, d), (N, d) -> (N, d)"""
    p = (x * own).sum(1, keepdim=True).clamp(-1, 1)
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    way = F.normalize(way - (way * own).sum(1, keepdim=True) * own)
    return p * own + (1 - p.square()).sqrt() * way


def summary(x: Tensor, labels: Tensor, classes: Tensor, seed: int) -> dict[str, float]:
    """Numbers of one set of images.  Unit rows (N, d), (N,), (C, d)"""
    h = hardness(x @ classes.T, labels)
    chance = hardness(elsewhere(x, classes[labels], seed) @ classes.T, labels)
    hard = h.many > 0
    return {
        "p": float(h.p.mean()),
        "n": float(h.n.mean()),
        "n_random": float(chance.n.mean()),
        "r": correlation(1 - h.p, h.n),
        "r_random": correlation(1 - h.p, chance.n),
        "r_mask": correlation(1 - h.p, h.many),
        "r_fixed": correlation(1 - h.p, h.fixed),
        "r_link": correlation(1 - h.p[hard], h.mean[hard]),
        "r_margin": correlation(1 - h.p, h.mean),
        "none": float((~hard).float().mean()),
    }


def spoilt(seed: int, name: str, people: int = 200) -> Any:
    """Four fresh pictures of each stranger with one nuisance alone; "none": as in a passport; "all": as in training."""
    keywords: dict[str, Any] = {"identities": people, "images_per_identity": 4, "first_shot": 1000}
    if name != "all":
        keywords |= {"difficulty": 0.0, "nuisance": {name: NUISANCES[name]} if name != "none" else {}}
    return standard("open", seed=seed, **keywords)


@lru_cache(maxsize=2)
def prototypes(net: nn.Module, people: int, seed: int) -> Tensor:
    """The mean direction of ten ordinary images of each of so many strangers.  (people, d)"""
    shown = standard("open", seed=seed, identities=people)
    x = F.normalize(embed(net, shown))
    return F.normalize(torch.stack([x[shown.labels == label].mean(0) for label in shown.labels.unique()]))


# ---- one row of the table -------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _trained(arm: str, scale: int, m1: float, lr: float, seed: int, few: bool) -> Trained:
    wanted = setting(arm, scale, m1, lr=lr)
    noisy = {"label_noise": SETTINGS["label_noise"]} if arm == "wrong labels" else {}
    shown = standard("fit", seed=seed, **noisy, **({"identities": 30} if few else {}))
    budget = "smoke" if few else "full"
    return faces.train(lambda dim, classes: make(wanted, dim, classes), seed, budget, shown=shown, lr=lr)


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training. The last two nets are kept: several rows look at one."""
    return _trained(wanted["arm"], wanted["scale"], wanted["m1"], wanted["lr"], seed, budget == "smoke")


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    trained, look = train(wanted, seed, budget), wanted["look"]
    if wanted["arm"] == "wrong labels":
        return mislabelled(trained, seed)
    if look == "pairs":
        return faces.measure(trained, seed, budget) | in_training(trained) | dimension(trained, seed, budget)
    if look == "training":
        return summary(F.normalize(embed(trained.net, trained.faces)), trained.faces.labels, class_rows(trained), seed)
    few = budget == "smoke"
    if look == "fresh":
        shown = standard(
            "fit", seed=seed, images_per_identity=4, first_shot=1000, **({"identities": 30} if few else {})
        )
        return summary(F.normalize(embed(trained.net, shown)), shown.labels, class_rows(trained), seed)
    if look in CROWDS:
        return among(trained, CROWDS[look], seed, few)
    people = 30 if few else 200
    if look in SHARED:
        return on_both_sides(trained, SHARED[look], seed, people)
    shown, known = spoilt(seed, look, people), prototypes(trained.net, people, seed)
    x, clean = (F.normalize(embed(trained.net, images)) for images in (shown, spoilt(seed, "none", people)))
    found, now = summary(x, shown.labels, known, seed), hardness(x @ known.T, shown.labels)
    before = hardness(clean @ known.T, shown.labels)
    lost, nearer = before.p - now.p, now.n - before.n
    named = hardness(x @ known.T, (shown.labels + 1) % len(known))
    found |= {"p_named": float(named.p.mean()), "n_named": float(named.n.mean())}
    found |= {"lost": float(lost.mean()), "nearer": float(nearer.mean()), "r_change": correlation(lost, nearer)}
    return found | {"both": float(((lost > 0.05) & (nearer > 0.05)).float().mean())}


def among(trained: Trained, people: int, seed: int, few: bool) -> dict[str, float]:
    """Fresh pictures of the same fifty strangers, known among ever more people."""
    shown = spoilt(seed, "all", 30 if few else 50)
    x = F.normalize(embed(trained.net, shown))
    return summary(x, shown.labels, prototypes(trained.net, 30 if few else people, seed), seed)


def on_both_sides(trained: Trained, name: str, seed: int, people: int) -> dict[str, float]:
    """Strangers known by three pictures and met by a fourth, all spoilt in the same way; against passport pictures."""
    found: dict[str, Hardness] = {}
    for look in ("none", name):
        x = F.normalize(embed(trained.net, spoilt(seed, look, people))).unflatten(0, (people, 4))
        known = F.normalize(x[:, :3].mean(1))
        h = hardness(x[:, 3] @ known.T, torch.arange(people))
        found |= {("before" if look == "none" else "now"): h}
    now, before = found["now"], found["before"]
    nearer, lost = now.n - before.n, before.p - now.p
    return {
        "p": float(now.p.mean()),
        "n": float(now.n.mean()),
        "lost": float(lost.mean()),
        "nearer": float(nearer.mean()),
    }


def class_rows(trained: Trained) -> Tensor:
    return F.normalize(trained.loss.weight.detach().cpu())


def dimension(trained: Trained, seed: int, budget: str) -> dict[str, float]:
    """In how many directions strangers lie: (Σ λ)² / Σ λ² of the covariance of their unit embeddings."""
    x = F.normalize(embed(trained.net, faces.people("open", seed, budget == "smoke")).double())
    covariance = x.T.cov()
    return {"dimension": float(covariance.trace() ** 2 / covariance.square().sum())}


def in_training(trained: Trained) -> dict[str, float]:
    """What the link did, at a quarter, the half and the end of the training: means over a twelfth of its steps."""
    seen = getattr(trained.loss, "seen", None)
    if not seen:
        return {}
    steps = torch.tensor(seen, dtype=torch.float64)
    found: dict[str, float] = {}
    for name, at in (("quarter", 0.25), ("half", 0.5), ("end", 0.96)):
        first = int((at - 1 / 24) * len(steps))
        last = max(first + 1, round((at + 1 / 24) * len(steps)))
        r, r_hard, hard, mean, sd = steps[first:last].mean(0).tolist()
        found |= {f"r_{name}": r, f"r_hard_{name}": r_hard, f"none_{name}": 1 - hard, f"m_{name}": mean}
        found[f"sd_{name}"] = sd
    return found


def mislabelled(trained: Trained, seed: int) -> dict[str, float]:
    """Training images, a part of them with a wrong label: what is hard, and whose label is wrong."""
    shown, classes = trained.faces, class_rows(trained)
    assert isinstance(shown, SyntheticFaces)  # which know whose they are
    x, wrong = F.normalize(embed(trained.net, shown)), shown.labels != shown.identities
    found = summary(x, shown.labels, classes, seed)
    h = hardness(x @ classes.T, shown.labels)
    both = (h.p < h.p.quantile(0.1)) & (h.n > h.n.quantile(0.9))
    right = correlation(1 - h.p[~wrong], h.n[~wrong])
    found |= {"r_right": right, "both": float(both.float().mean())}
    found |= {"p_wrong": float(h.p[wrong].mean()), "n_wrong": float(h.n[wrong].mean())}
    found |= {"p_right": float(h.p[~wrong].mean()), "n_right": float(h.n[~wrong].mean())}
    return found | {"wrong_of_both": float(wrong[both].float().mean()) if both.any() else 0.0}


# ---- reading the table ----------------------------------------------------------------------------------------------


def values(table: pd.DataFrame, number: str, arm: str, scale: int, look: str, m1: float = 0.2) -> pd.Series:
    """A number of one setting, one for each seed."""
    found = rows(table, setting(arm, scale, m1, look))[number].dropna()
    return found[~found.index.isin(FRESH)]


def difference(table: pd.DataFrame, number: str, ours: str, scale: int, m1: float) -> pd.Series:
    """Error rate of one way to hand out the margins less that of NPCFace's, in points, seed by seed."""
    return 100 * paired(table, number, setting(ours, scale, m1), setting("npc", scale, m1))


def comparisons(table: pd.DataFrame, number: str, scale: int) -> dict[str, pd.Series]:
    """All that is compared with NPCFace at one scale, an error rate in points, one number a seed."""
    arms = (("inverted", 0.2), ("inverted", 0.8), ("shuffled", 0.8), ("less", 0.2))
    return {f"{arm}, m1 = {m1}": difference(table, number, arm, scale, m1) for arm, m1 in arms}


def first_and_fresh(x: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The seeds that were planned, and those that were added."""
    return x[x.index.isin(SETTINGS["seeds"])], x[x.index.isin(FRESH)]


def within(x: pd.Series, number: str) -> bool:
    """Does the whole interval lie inside the bound that was fixed beforehand?"""
    spread, bound = lesson.interval(x), SETTINGS["bounds"][number]
    return -bound < spread.low and spread.high < bound


def were_different(table: pd.DataFrame) -> bool:
    """Did the ways to hand out margins differ as their names say, and by as much as the link is strong?"""
    wanted = {"npc": (-1.0, -0.5), "shuffled": (-0.2, 0.2), "inverted": (0.5, 1.0)}
    for scale in map(int, SETTINGS["scales"]):
        for link, m1 in (("npc", 0.2), ("inverted", 0.2), *((link, 0.8) for link in LINKS)):
            r, sd = (of(table, f"{name}_quarter", "pairs", link, scale, m1) for name in ("r_hard", "sd"))
            low, high = wanted[link]
            if r.low < low or r.high > high or sd.low < m1 / 20:
                return False
    return True


def every_look(table: pd.DataFrame, number: str, trained_on: bool = False) -> list[pd.Series]:
    """A number of both nets at both scales: for each nuisance alone, for all; and for the people it was trained on."""
    looks, scales = (*NUISANCES, "all", *(("training", "fresh") if trained_on else ())), map(int, SETTINGS["scales"])
    return [values(table, number, arm, scale, look) for scale in scales for arm in ("arcface", "npc") for look in looks]


def backwards(table: pd.DataFrame) -> list[pd.Series]:
    """Correlation of margin and hardness among images with a hard negative: trained nets, and in the training."""
    stages = [f"r_hard_{stage}" for stage in ("quarter", "half", "end")]
    runs = [(scale, m1) for scale in map(int, SETTINGS["scales"]) for m1 in (0.2, 0.8)]
    in_training = [values(table, stage, "npc", scale, "pairs", m1) for scale, m1 in runs for stage in stages]
    return every_look(table, "r_link", trained_on=True) + in_training


def verdicts(table: pd.DataFrame) -> dict[str, bool]:
    """The parts of the claim."""
    nearer, fall = ([lesson.interval(x) for x in found] for found in (every_look(table, "nearer"), backwards(table)))
    r, own, one = (every_look(table, name, trained_on=True) for name in ("r", "r_mask", "r_fixed"))
    low = [max(lesson.interval(x).high for x in found) for found in (r, one)]
    more = [lesson.interval(x).low for x in (*own, *(a - b for a, b in zip(own, one, strict=True)))]
    same = [within(difference(table, "eer", "inverted", 8, m1), "eer") for m1 in (0.2, 0.8)]
    seen = [lesson.interval(difference(table, rate, "less", 8, 0.2)) for rate in ("eer", "tar_1e3")]
    gain = lesson.interval(difference(table, "tar_1e3", "inverted", 8, 0.8))  # not planned
    return {
        "no nuisance brings the others nearer": all(x.high < SETTINGS["bounds"]["nearer"] for x in nearer),
        "hardly any correlation in the pictures, more by the mask": low[0] < LIMITS["r"]
        and low[1] < LIMITS["r_fixed"]
        and min(more) > 0,
        "among images with hard negatives the margin falls": all(x.high < 0 for x in fall),
        "s = 8: inverting the link leaves the EER as it is": all(same) and were_different(table),
        "s = 8, strong link: inverting it gains TAR": gain.low > 0,
        "the same comparison sees a smaller margin for all": seen[0].low > 0
        and seen[1].low > SETTINGS["bounds"]["tar_1e3"],
    }


def of(
    table: pd.DataFrame, number: str, look: str, arm: str = "arcface", scale: int = 8, m1: float = 0.2
) -> lesson.Spread:
    """A number's mean and interval over the seeds."""
    return lesson.interval(values(table, number, arm, scale, look, m1))


def by_nuisance(table: pd.DataFrame, scale: int = 8) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: what a nuisance does to ArcFace's strangers."""
    found = []
    for look in ("hair", "pose", "blur", "noise", "lowres", "occlusion"):
        cells = [f"{of(table, name, look, scale=scale):+.3f}" for name in ("nearer",)]
        found.append([look, f"{-of(table, 'lost', look, scale=scale).mean:+.2f}", *cells])
        found[-1] += [f"{of(table, name, look, scale=scale).mean:+.2f}" for name in ("r", "r_random")]
    return ["", "change of p", "nearer", "r", "r, random rest"], found


def by_crowd(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: the same pictures among ever more people, ArcFace at both scales."""
    found = []
    for look, people in CROWDS.items():
        cells = [f"{of(table, name, look, scale=scale):+.2f}" for scale in (8, 32) for name in ("r", "r_random")]
        found.append([f"{people}", *cells])
    return ["people", "r, s = 8", "random rest", "r, s = 32", "random rest"], found


def by_label(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: a tenth of the labels wrong."""
    found = []
    for scale in map(int, SETTINGS["scales"]):
        one = {name: of(table, name, "training", "wrong labels", scale) for name in ("r", "r_right", "wrong_of_both")}
        both = [of(table, f"{name}_wrong", "training", "wrong labels", scale).mean for name in ("p", "n")]
        found.append([f"s = {scale}", "{:.2f}, {:.2f}".format(*both), f"{one['r']:+.2f}", f"{one['r_right']:+.2f}"])
        found[-1].append(f"{100 * one['wrong_of_both'].mean:.0f} %")
    return ["", "p, n of the wrong", "r, all", "r, rightly labelled", "wrong among hard on both"], found


def by_link(table: pd.DataFrame, scale: int = 32) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: what is compared with NPCFace, in points."""
    rates = [comparisons(table, number, scale) for number in ("eer", "tar_1e3")]
    found = [[words, *(f"{lesson.interval(rate[words]):+.2f}" for rate in rates)] for words in rates[0]]
    return [f"s = {scale}", "EER against npc", "TAR against npc"], found


def by_training(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: who gets which margin in the course of a training with NPCFace."""
    found = []
    for scale in map(int, SETTINGS["scales"]):
        for name in ("quarter", "half", "end"):
            row = [of(table, f"{what}_{name}", "pairs", "npc", scale) for what in ("r_hard", "r", "none")]
            found.append([f"s = {scale}, {name}", f"{row[0]:+.2f}", f"{row[1]:+.2f}", f"{100 * row[2].mean:.0f} %"])
    return ["", "r, with hard negatives", "r, all images", "images without"], found


# ---- figures --------------------------------------------------------------------------------------------------------

HARD, EASY = figures.ORANGE, "#9AA4AE"


def sawtooth(others: Tensor, m: float, p: Tensor) -> Hardness:
    """One image with fixed negatives (C,), for each of many cosines p (N,) to its own class."""
    cos = torch.cat([p[:, None], others.expand(len(p), -1)], 1)
    return hardness(cos, torch.zeros(len(p), dtype=torch.long), m)


def draw_bar(others: Tensor, m: float, shown: list[float]) -> Figure:
    """The negatives of one image as dots, and the bar, for several p."""
    fig, axes = plt.subplots(1, len(shown), figsize=(9.4, 3.0), sharey=True)
    for ax, p in zip(axes, shown, strict=True):
        _bar(ax, others, m, p)
    axes[0].set_ylabel("cosine")
    return fig


def _bar(ax: Axes, others: Tensor, m: float, p: float) -> None:
    h = sawtooth(others, m, torch.tensor([p]))
    bar, mean, hard = float(h.bar), float(h.mean), others > h.bar
    across = torch.linspace(0.1, 0.9, len(others))[
        torch.randperm(len(others), generator=torch.Generator().manual_seed(0))
    ]
    for chosen, shade in ((~hard, EASY), (hard, HARD)):
        ax.plot(across[chosen], others[chosen], "o", color=shade, markersize=4, markeredgewidth=0)
    ax.axhline(bar, color="#333333", linewidth=1.4)
    ax.plot(0.5, p, "*", color=figures.BLUE, markersize=13)
    if hard.any():
        ax.plot([0.03, 0.97], [mean, mean], "--", color=HARD, linewidth=1.6)
    ax.set(
        title=f"p = {p:.2f}: {int(hard.sum())} hard, $\\bar c$ = {mean:.2f}", xlim=(0, 1), ylim=(-0.65, 1.05), xticks=[]
    )


def draw_sawtooth(others: Tensor, m: float, m0: float, m1: float) -> Figure:
    """One image whose p slips: how many negatives are hard, and its margin."""
    p = torch.linspace(1.0, 0.0, 1001)
    h = sawtooth(others, m, p)
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 2.9))
    axes[0].plot(1 - p, h.many, color=HARD)
    axes[1].plot(1 - p, m0 + m1 * h.mean, color=figures.colour("npcface"))
    axes[1].axhline(m0, color="#333333", linewidth=1, linestyle=":")
    for ax, label in zip(axes, ("hard negatives", "margin, radians"), strict=True):
        ax.set(xlabel="1 - p", ylabel=label)
    return fig


def draw_correlations(table: pd.DataFrame) -> Figure:
    """How five measures go with hardness 1 - p, a row for each set of images: means and intervals over seeds."""
    worst = sorted(NUISANCES, key=lambda name: of(table, "lost", name).mean)
    looks = ("training", "fresh", "none", *worst, "all")
    kinds = {
        "r_random": ("n, if the rest pointed anywhere", "s", "#9AA4AE"),
        "r": ("n, the nearest other", "o", figures.BLUE),
        "r_fixed": ("how many above one bar for all", "^", "#333333"),
        "r_mask": ("how many above the mask's bar", "D", HARD),
        "r_link": (r"their mean cosine, $\bar c$", "v", figures.colour("normface")),
    }
    fig, axes = plt.subplots(1, 2, figsize=(9.8, 5.6), sharey=True)
    for ax, scale in zip(axes, map(int, SETTINGS["scales"]), strict=True):
        for k, (number, (label, mark, shade)) in enumerate(kinds.items()):
            spreads = [of(table, number, look, scale=scale) for look in looks]
            y, middle = np.arange(len(looks)) + 0.13 * (k - 2), [x.mean for x in spreads]
            wide = [x.half_width for x in spreads]
            ax.errorbar(middle, y, xerr=wide, fmt=mark, color=shade, label=label, markersize=4.5, linewidth=1)
        ax.axvline(0, color="#333333", linewidth=1)
        ax.axhline(1.5, color="#333333", linewidth=0.6)
        ax.set(xlabel="correlation with 1 - p", title=f"s = {scale}", xlim=(-1.03, 1.03))
    axes[0].set_yticks(range(len(looks)), looks)
    axes[0].set_ylim(len(looks) - 0.4, -0.6)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    return fig


def draw_plane(table: pd.DataFrame, scale: int = 8) -> Figure:
    """Where the mean image goes: nuisances alone from the passport picture, and what a wrong label does in training."""
    fig, ax = plt.subplots(figsize=(7.6, 4.4))
    start = [values(table, number, "arcface", scale, "none").mean() for number in ("p", "n")]
    names = sorted(NUISANCES, key=lambda name: values(table, "lost", "arcface", scale, name).mean())
    for name in names:
        end = [values(table, number, "arcface", scale, name).mean() for number in ("p", "n")]
        _arrow(ax, start, end, figures.BLUE)
        if start[0] - end[0] > 0.06:
            aside = {"blur": (2, 5), "lowres": (16, -6)}.get(name, (5, -3))  # clear of the arrows
            ax.annotate(name, (1 - end[0], end[1]), aside, textcoords="offset points", fontsize=8)
    right, wrong = (
        [values(table, f"{number}_{which}", "wrong labels", scale, "training").mean() for number in ("p", "n")]
        for which in ("right", "wrong")
    )
    _arrow(ax, right, wrong, HARD)
    ax.annotate("wrong label", (1 - wrong[0], wrong[1]), (-8, 6), textcoords="offset points", fontsize=9, ha="right")
    ax.set(xlabel="1 - p: hardness of the positive", ylabel="n: hardness of the negative", title=f"s = {scale}")
    ax.margins(0.08)
    return fig


def _arrow(ax: Axes, start: list[float], end: list[float], shade: str) -> None:
    at = [(1 - p, n) for p, n in (start, end)]
    ax.annotate("", at[1], at[0], arrowprops={"arrowstyle": "->", "color": shade, "linewidth": 1.6})
    ax.plot(*zip(*at, strict=True), "o", color=shade, markersize=3, markeredgewidth=0)


def draw_links(table: pd.DataFrame, scale: int = 8) -> Figure:
    """What is compared with NPCFace at one scale, with the bounds that were fixed beforehand: EER left, TAR right."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.2), sharey=True)
    for ax, number, name in zip(axes, ("eer", "tar_1e3"), ("EER", "TAR at FAR 1e-3"), strict=True):
        found, bound = comparisons(table, number, scale), SETTINGS["bounds"][number]
        ax.axvspan(-bound, bound, color="#E4EBF2")
        ax.axvline(0, color="#333333", linewidth=1)
        for y, (words, x) in enumerate(found.items()):
            shade, spread = HARD if words.startswith("less") else figures.colour("npcface"), lesson.interval(x)
            for some, mark in zip(first_and_fresh(x), "ox", strict=True):
                ax.plot(some, np.full(len(some), y - 0.14), mark, color="#777777", markersize=4, alpha=0.7)
            ax.errorbar(spread.mean, y + 0.16, xerr=spread.half_width, fmt="D", color=shade, markersize=5, capsize=4)
        ax.set_yticks(range(len(found)), list(found))
        ax.set(xlabel=f"{name}, points against npc", ylim=(len(found) - 0.5, -0.6))
    return fig


def strip(seed: int, people: int = 3) -> Figure:
    """Some strangers, a column for each nuisance alone."""
    looks = ("none", *NUISANCES)
    shown = [spoilt(seed, look, people) for look in looks]
    columns = [[images.images[4 * k + 1] for images in shown] for k in range(people)]
    return figures.face_strip([torch.stack(row) / 255 for row in columns], looks)


# ---- the stored animation -------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """The same training images twice, and one of them whose positive slips while its other cosines stay."""
    seed = SETTINGS["live_seed"]
    trained = train(setting("npc"), seed)
    shown = trained.faces
    cos = F.normalize(embed(trained.net, shown)) @ class_rows(trained).T
    some = torch.randperm(len(cos), generator=torch.Generator().manual_seed(0))[:1200]
    h = hardness(cos[some], shown.labels[some])
    usual = (h.n - h.n[(h.many > 0) & (h.many < 4)].median()).abs().argmin()  # an image like many
    others = cos[some[usual]][torch.arange(cos.shape[1]) != shown.labels[some[usual]]]
    path = 1 - torch.linspace(0.01, 0.42, 42)
    way = sawtooth(others, SETTINGS["mask"], path)

    def draw(k: int) -> Figure:
        fig, (left, middle, right) = plt.subplots(1, 3, figsize=(9.6, 3.3), width_ratios=(0.8, 1, 1))
        _bar(left, others, SETTINGS["mask"], float(path[k]))
        left.set(title=f"p = {float(path[k]):.2f}", ylabel="cosine")
        hard = h.many > 0
        for ax, of_all, of_one, chosen in ((middle, h.many, way.many, hard | ~hard), (right, h.mean, way.mean, hard)):
            ax.plot((1 - h.p)[chosen], of_all[chosen], "o", color=EASY, markersize=2.5, alpha=0.5, markeredgewidth=0)
            ax.plot(1 - path[: k + 1], of_one[: k + 1], color=HARD, linewidth=1.4)
            ax.plot(1 - path[k], of_one[k], "o", color=HARD, markersize=8)
            r = correlation((1 - h.p)[chosen], of_all[chosen])
            ax.set(xlabel="1 - p", xlim=(0, 0.45), title=f"correlation {r:+.2f}")
        middle.set(ylabel="negatives above the bar", ylim=(-3, 90))
        right.set(ylabel=r"their mean cosine $\bar c$", ylim=(-0.03, 1))
        return fig

    figures.save_gif(folder / "17_bar.gif", draw, range(len(path)), seconds=0.15, hold=2.0, dpi=75)
