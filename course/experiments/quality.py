"""Chapter 18: what the norm of an embedding knows of a picture, and whether a loss made for it helps it know more.

Nets without the last batch normalisation, which would pin the norm. "Seen": trained on faces of which some are masked,
covered by a patch, or of low resolution; "unseen": on the standard faces, which never are. All are tested on strangers
of the first kind. A score rejects the pictures it puts lowest; the rest is compared, all pairs, by cosine.

Learning rates, scales, margins and MagFace's lengths were chosen on people of the split "tune" with seeds of their own
(`chosen` says from what), by the EER that is left after the norm has rejected its lowest 30 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from experiments import faces
from experiments.faces import Setting, Trained, paired, rows
from experiments.l2_softmax import dimension
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data import SyntheticFaces, standard
from facelearn.losses import AdaFace, ArcFace, ElasticFace, MagFace, Softmax
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
from facelearn.verification import evaluate_all_pairs

CHAPTER = "18_quality"
MAG_8 = {"scale": 8, "lower": 1, "upper": 20, "margin_lower": 0.2, "margin_upper": 0.8, "regularizer_weight": 5}
MAG_32 = MAG_8 | {"scale": 32, "margin_lower": 0.1, "margin_upper": 0.4, "regularizer_weight": 20}
ADA, ELASTIC = {"h": 1, "momentum": 0.1}, {"kind": "arc", "margin": 0.6, "scale": 8}

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "nuisance": {"occlusion": 0.5, "lowres": 0.5},
    # loss, its settings, learning rate
    "arms": {
        "softmax": ["softmax", {}, 8e-3],
        "arcface": ["arcface", {"scale": 8, "margin": 0.6}, 1.6e-2],
        "magface": ["magface", MAG_8, 1.6e-2],
        "adaface": ["adaface", {"scale": 8, "margin": 0.2, **ADA}, 1.6e-2],
        "adaface strong": ["adaface", {"scale": 8, "margin": 0.4, **ADA}, 1.6e-2],  # the paper's margin; not chosen
        "arcface 32": ["arcface", {"scale": 32, "margin": 0.2}, 1.6e-2],
        "magface 32": ["magface", MAG_32, 1.6e-2],
        "adaface 32": ["adaface", {"scale": 32, "margin": 0.1, **ADA}, 1.6e-2],
        "elastic": ["elasticface", ELASTIC | {"std": 0.05}, 1.6e-2],
        "elastic wide": ["elasticface", ELASTIC | {"std": 0.2}, 1.6e-2],
        "elastic plus": ["elasticface", ELASTIC | {"std": 0.05, "plus": True}, 1.6e-2],
        "elastic wide plus": ["elasticface", ELASTIC | {"std": 0.2, "plus": True}, 1.6e-2],
    },
    "slow": 4e-3,
    "rejected": [10, 20, 30],
    "draws": 3,
    "exposures": [-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2],
    "blurs": [0.0, 1.0, 2.0, 3.0],
    "seeds": [1800, 1801, 1802, 1803, 1804],
    "more_seeds": [1805, 1806, 1807, 1808, 1809],
    "long": {"epochs": 24, "seeds": [1800, 1801, 1802]},
    "live_seed": 1840,
    "limit": 5.0,  # percent of the EER, fixed before the run on "open"
}
MADE_FOR_IT = ("magface", "adaface", "magface 32", "adaface 32")
NAMES = {
    "elastic": "σ = 0.05",
    "elastic wide": "σ = 0.2",
    "elastic plus": "σ = 0.05, +",
    "elastic wide plus": "σ = 0.2, +",
}


def setting(arm: str, shown: str = "seen", lr: float | None = None, epochs: int = 8) -> Setting:
    """What a row varies: loss with its settings, the faces it is trained on, the learning rate, how long."""
    return {"arm": arm, "shown": shown, "lr": SETTINGS["arms"][arm][2] if lr is None else lr, "epochs": epochs}


def grid() -> Iterator[tuple[Setting, int]]:
    """A seed at a time, so that its people are drawn once."""
    for seed in SETTINGS["seeds"]:
        yield from ((setting(arm), seed) for arm in SETTINGS["arms"])
        yield from ((setting(arm, "unseen"), seed) for arm in ("softmax", "magface"))
        yield from ((setting(arm, lr=SETTINGS["slow"]), seed) for arm in ("softmax", "magface", "adaface"))
    for seed in SETTINGS["more_seeds"]:
        yield from ((setting(arm), seed) for arm in ("softmax", "arcface", "magface", "adaface"))
    for seed in SETTINGS["long"]["seeds"]:
        yield from ((long(arm), seed) for arm in ("softmax", "magface"))


def long(arm: str) -> Setting:
    return setting(arm, epochs=SETTINGS["long"]["epochs"])


# ---- nets -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=3)
def people(split: str, seed: int, shown: str = "seen", few: bool = False) -> SyntheticFaces:
    """The standard set of this split, with masks, patches and low resolution where they are seen."""
    changes: dict[str, Any] = {"nuisance": SETTINGS["nuisance"]} if shown == "seen" else {}
    return standard(split, seed=seed, **changes, **({"identities": 30} if few else {}))


def head(arm: str, dim: int, classes: int) -> nn.Module:
    stem, options, _ = SETTINGS["arms"][arm]
    if stem == "softmax":
        return Softmax(dim, classes, bias=False)
    if stem == "magface":
        return MagFace(dim, classes, beyond_pi="mm", **options)
    return {"arcface": ArcFace, "adaface": AdaFace, "elasticface": ElasticFace}[stem](dim, classes, **options)


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One net; at "smoke" one epoch with a few people."""
    few = budget == "smoke"
    shown = people("fit", seed, wanted["shown"], few)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"], final_batchnorm=False)
    loss = head(wanted["arm"], net.embedding_dim, int(shown.labels.max()) + 1)
    options = {**SETTINGS["training"], "lr": wanted["lr"], "augment": ShiftAndGain()}
    fit(net, loss, shown, epochs=1 if few else wanted["epochs"], seed=seed, **options)
    return Trained(net, loss, shown)


live = lru_cache(maxsize=4)(lambda arm, seed, budget: train(setting(arm), seed, budget))  # a notebook asks twice

# ---- scores of pictures ---------------------------------------------------------------------------------------------


def genuine(x: Tensor, labels: Tensor) -> Tensor:
    """Of each picture: its mean cosine to the other pictures of its person. No rejector can know it.  (N,)"""
    cos, same = F.normalize(x) @ F.normalize(x).T, labels[:, None] == labels
    same.fill_diagonal_(False)
    return (cos * same).sum(1) / same.sum(1)


def by_person(score: Tensor, labels: Tensor) -> Tensor:
    """The mean over the pictures of its person, for each picture.  (N,)"""
    count = torch.bincount(labels)
    return (torch.bincount(labels, score.double()) / count)[labels].to(score)


def kept(score: Tensor, share: float) -> Tensor:
    """Places of what is left when the lowest are rejected."""
    return score.argsort()[round(share * len(score)) :]


def rates(x: Tensor, labels: Tensor, places: Tensor) -> tuple[float, float]:
    """EER, and TAR at FAR 1e-3, over all pairs of these pictures."""
    found = evaluate_all_pairs(x[places], labels[places])
    return found.eer, found.tar_at(1e-3)


def ranks_agree(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation."""
    both = torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double()
    return float(torch.corrcoef(both)[0, 1])


def identity_share(score: Tensor, labels: Tensor) -> float:
    """Share of the variance that lies between people; what ten pictures leave to chance is taken off the means."""
    within = (score - by_person(score, labels)).square().sum() / (len(score) - len(labels.unique()))
    each = len(score) / len(labels.unique())
    between = torch.stack([score[labels == label].mean() for label in labels.unique()]).var() - within / each
    return float(between / (between + within))


def thirds(score: Tensor, age: Tensor, share: float = 0.2) -> tuple[float, float]:
    """Of the youngest and of the oldest third of the pictures' people: the share that this score rejects."""
    out = torch.ones(len(score), dtype=torch.bool)
    out[kept(score, share)] = False
    young, old = (float(out[group].float().mean()) for group in (age < 1 / 3, age > 2 / 3))
    return young, old


def rejected(x: Tensor, labels: Tensor, seed: int) -> dict[str, float]:
    """EER after each share is rejected by norm, by the oracle, by chance; by people's mean norms, and within people."""
    norm, draws, found = x.norm(dim=1), torch.Generator().manual_seed(seed), {}
    every = torch.arange(len(x))
    found["eer"], found["tar_1e3"] = rates(x, labels, every)
    for name, score in {"norm": norm, "oracle": genuine(x, labels)}.items():
        for share in SETTINGS["rejected"]:
            found[f"eer_{name}_{share}"], tar = rates(x, labels, kept(score, share / 100))
        if name == "norm":
            found["tar_norm_30"] = tar
    means = by_person(norm, labels)
    for name, score in {"person": means, "within": norm / means}.items():
        found[f"eer_{name}_30"] = rates(x, labels, kept(score, 0.3))[0]
    chance = [rates(x, labels, kept(torch.rand(len(x), generator=draws), 0.3)) for _ in range(SETTINGS["draws"])]
    found |= {
        f"{name}_random_30": sum(c) / len(c) for name, c in zip(("eer", "tar"), zip(*chance, strict=True), strict=True)
    }
    return found


@lru_cache(maxsize=40)
def passports(seed: int, name: str, value: float, count: int = 100) -> SyntheticFaces:
    """One picture each of strangers with nothing wrong, but for one nuisance."""
    return SyntheticFaces(count, 1, seed=seed, split="open", difficulty=0, fixed={name: value})


def probes() -> list[tuple[str, float]]:
    """What is changed on the passport pictures, and how far."""
    return [("mask", 1.0), *(("exposure", v) for v in SETTINGS["exposures"]), *(("blur", v) for v in SETTINGS["blurs"])]


def changed(net: nn.Module, seed: int, budget: str = "full") -> dict[str, float]:
    """Of each change: norm over the norm of the passport picture, and cosine to it, means over people."""
    count, found = 10 if budget == "smoke" else 100, {}
    start = embed(net, passports(seed, "mask", 0.0, count))
    for name, value in probes():
        x = embed(net, passports(seed, name, value, count))
        found[f"norm_{name}_{value:g}"] = float((x.norm(dim=1) / start.norm(dim=1)).mean())
        found[f"cos_{name}_{value:g}"] = float(F.cosine_similarity(x, start).mean())
    return found


def in_training(trained: Trained) -> dict[str, float]:
    """Of training images: do norms rise with the cosine to the own class? MagFace: where step 4 has them rest."""
    net, loss, shown = trained
    x, own = embed(net, shown).cpu(), loss.weight.detach().cpu()[shown.labels]
    norm = x.norm(dim=1)
    found = {"fit_norm": float(norm.mean()), "fit_order": ranks_agree(norm, F.cosine_similarity(x, own))}
    if isinstance(loss, MagFace):
        cos = (F.normalize(x) @ F.normalize(loss.weight.detach().cpu()).T).scatter(1, shown.labels[:, None], -torch.inf)
        theta = F.cosine_similarity(x, own).clamp(-1, 1).arccos()
        low, high = torch.full_like(norm, loss.lower), torch.full_like(norm, loss.upper)
        for _ in range(40):
            middle = (low + high) / 2
            outwards = pull(middle, theta, (loss.scale * cos).logsumexp(1), MAG_8)[0] > 0
            low, high = middle.where(outwards, low), high.where(outwards, middle)
        inside = (norm > loss.lower) & (norm < loss.upper)
        found |= {
            "fit_rest": float(low.mean()),
            "fit_agree": ranks_agree(norm, low),
            "fit_inside": float(inside.float().mean()),
        }
    return found


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row.

    eer_norm_30 …      after the lowest 30 % are rejected by the norm; oracle: by the mean genuine cosine; random;
                       person: by the person's mean norm; within: by the norm over that mean
    agree …            Spearman's correlation of norm and genuine cosine: of all, of people's means, within people
    identity           share of the norm's variance that lies between people
    young, old         share of the youngest and the oldest third that the norm rejects of 20 %; oracle: the same by it
    norm_mask_1 …      `changed`
    fit_order …        `in_training`, of the long trainings
    """
    trained, strangers = train(wanted, seed, budget), people("open", seed, "seen", budget == "smoke")
    x, labels = embed(trained.net, strangers).cpu(), strangers.labels
    norm, truth = x.norm(dim=1), genuine(x, labels)
    found = rejected(x, labels, seed) | {"norm": float(norm.mean()), "spread": float(norm.std() / norm.mean())}
    found |= {"dimension": dimension(x), "identity": identity_share(norm, labels)}
    first = labels.diff(prepend=labels[:1] - 1) != 0  # one picture of each person
    means = [by_person(score, labels) for score in (norm, truth)]
    found["agree"] = ranks_agree(norm, truth)
    found["agree_between"] = ranks_agree(means[0][first], means[1][first])
    found["agree_within"] = ranks_agree(norm / means[0], truth - means[1])
    age = strangers.traits["age"][labels]
    found["young"], found["old"] = thirds(norm, age)
    found["young_oracle"], found["old_oracle"] = thirds(truth, age)
    found |= changed(trained.net, seed, budget)
    return found | (in_training(trained) if wanted["epochs"] == SETTINGS["long"]["epochs"] else {})


# ---- reading the table ----------------------------------------------------------------------------------------------


def gain(table: pd.DataFrame, wanted: Setting, score: str = "norm") -> pd.Series:
    """By how many percent the EER falls when a score rejects 30 %, seed by seed."""
    one = rows(table, wanted)
    return (100 * (1 - one[f"eer_{score}_30"] / one["eer"])).dropna()


def more(table: pd.DataFrame, wanted: Setting, base: Setting) -> pd.Series:
    """How much more the norm of one net gains than that of another, in percent of the EER, seed by seed."""
    return (gain(table, wanted) - gain(table, base)).dropna()


def percent(table: pd.DataFrame, number: str, wanted: Setting) -> float:
    return 100 * float(rows(table, wanted)[number].mean())


def by_arm(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the main table: EER of all, after the norm, chance and the oracle rejected 30 %; the gain."""
    found = []
    for arm in ("softmax", "arcface", "magface", "adaface"):
        cells = [percent(table, name, setting(arm)) for name in ("eer", "eer_random_30", "eer_norm_30")]
        gained = lesson.interval(gain(table, setting(arm)))
        found.append([figures.NAMES[arm], *(f"{cell:.2f}" for cell in cells), f"{gained:.0f}"])
    return ["EER % of", "all pictures", "30 % less, at random", "30 % less, by norm", "gain, % of the EER"], found


def by_knowledge(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: what a norm gains by people and within people, and whom it rejects, in percent."""
    found = []
    arms = {figures.NAMES[arm]: setting(arm) for arm in ("softmax", "arcface", "magface", "adaface")}
    for name, one in (arms | {"Softmax, unseen": setting("softmax", "unseen")}).items():
        parts = [float(gain(table, one, score).mean()) for score in ("person", "within")]
        out = [percent(table, group, one) for group in ("young", "old")]
        share = percent(table, "identity", one)
        found.append([name, f"{share:.0f}", *(f"{part:.0f}" for part in parts), f"{out[0]:.0f} / {out[1]:.0f}"])
    out = [percent(table, f"{group}_oracle", setting("softmax")) for group in ("young", "old")]
    found.append(["oracle, Softmax", "", "", "", f"{out[0]:.0f} / {out[1]:.0f}"])
    head = ["norm of", "identity share", "gain, person's mean", "gain, within people", "of 20 %: young / old"]
    return head, found


def comparisons(table: pd.DataFrame) -> dict[str, pd.Series]:
    """What the claim rests on: gains of norms that a loss was made for, less the gain of softmax's norm."""
    return {called(arm): more(table, setting(arm), setting("softmax")) for arm in MADE_FOR_IT}


def called(arm: str) -> str:
    stem, _, scale = arm.partition(" ")
    return figures.NAMES[stem] + f", s = {scale or 8}"


def masks(table: pd.DataFrame) -> str:
    """Where masks were, or were not, in training: cosine to the picture without one, and norm over its norm."""
    found = []
    for shown in ("unseen", "seen"):
        row = rows(table, setting("softmax", shown)).mean(numeric_only=True)
        found.append(
            f"masks {shown} in training: cosine {row['cos_mask_1']:.2f}, norm with / without {row['norm_mask_1']:.2f}"
        )
    return "\n".join(found)


def gains(table: pd.DataFrame) -> str:
    """What the verdict rests on."""
    found = ["gain of the norm, % of the EER   less softmax's"]
    for arm in ("softmax", "arcface", *MADE_FOR_IT):
        gained = lesson.interval(gain(table, setting(arm)))
        rest = f"{lesson.interval(comparisons(table)[called(arm)]):+.1f}" if arm in MADE_FOR_IT else ""
        name = figures.NAMES[arm] if arm == "softmax" else called(arm)
        found.append(f"{name:18s} {gained:.1f}  {rest:>18s}".rstrip())
    for arm in ("softmax", "magface"):
        gained = lesson.interval(gain(table, setting(arm, "unseen")))
        rest = f"{lesson.interval(control(table)):+.1f}" if arm == "softmax" else ""
        found.append(f"{figures.NAMES[arm] + ', unseen':18s} {gained:.1f}  {rest:>18s}".rstrip())
    return "\n".join(found)


def compared(table: pd.DataFrame) -> str:
    """Without any rejection: the losses as recognisers, and random margins against their mean."""
    groups = {
        "EER less ArcFace's, points": recognisers(table),
        "EER less that of the mean margin": random_margins(table),
    }
    lines = []
    for title, found in groups.items():
        lines += [title, *(f"  {name:22s} {lesson.interval(values):+.2f}" for name, values in found.items())]
    return "\n".join(lines)


def live_gain(arm: str, budget: str) -> float:
    """The gain of the norm of a net that is trained now, in percent of the EER."""
    seed = SETTINGS["live_seed"]
    strangers = people("open", seed, "seen", budget == "smoke")
    trained = live(arm, seed, budget)
    order, x = in_training(trained)["fit_order"], embed(trained.net, strangers).cpu()
    every, left = (rates(x, strangers.labels, kept(x.norm(dim=1), share))[0] for share in (0.0, 0.3))
    print(f"{figures.NAMES[arm]}, training images: rank correlation of norm and own cosine {order:+.2f}")
    print(f"  strangers: EER {every:.2%}, after its norm rejected 30 %: {left:.2%}")
    return 100 * (1 - left / every)


def holds(table: pd.DataFrame) -> bool:
    """The claim: where training had the damage, every norm beats chance, and none that a loss was made for beats
    softmax's by more than the limit; where it had not, no norm gains more than the limit.

    MagFace does what it says (`acts`), and the test can see more than the limit: where training lacked the damage,
    softmax's norm gains less by more.
    """
    arms = ("softmax", "arcface", *MADE_FOR_IT)
    knows = all(
        lesson.interval(gain(table, setting(arm)) - gain(table, setting(arm), "random")).low > 0 for arm in arms
    )
    none = all(lesson.interval(values).high < SETTINGS["limit"] for values in comparisons(table).values())
    unseen = [gain(table, setting(arm, "unseen")) for arm in ("softmax", "magface")]
    lost = all(lesson.interval(gained).high < SETTINGS["limit"] for gained in unseen)
    return knows and none and lost and acts(table) and lesson.interval(control(table)).high < -SETTINGS["limit"]


def acts(table: pd.DataFrame) -> bool:
    """After the long training MagFace's norms are, on training images, those that step 4 asks for."""
    seen = rows(table, long("magface"))
    off = (seen["fit_norm"] - seen["fit_rest"]).abs().max()
    return bool(lesson.interval(seen["fit_agree"]).low > 0.3 and off < 0.5)


def control(table: pd.DataFrame) -> pd.Series:
    """What is known to make a difference: softmax's norm where training lacked the damage, less where it had it."""
    return more(table, setting("softmax", "unseen"), setting("softmax"))


def of_the_oracle(table: pd.DataFrame, wanted: Setting) -> pd.Series:
    """The gain as a share of the oracle's, in percent."""
    return 100 * gain(table, wanted) / gain(table, wanted, "oracle")


def longer(table: pd.DataFrame) -> str:
    """After three times as many epochs: gains, and training images: norms, and where step 4 has them rest."""
    soft, mag = (rows(table, long(arm)).mean(numeric_only=True) for arm in ("softmax", "magface"))
    gains = [float(gain(table, long(arm)).mean()) for arm in ("softmax", "magface")]
    return "\n".join(
        [
            f"24 epochs: gain of the norm, softmax {gains[0]:.0f}, MagFace {gains[1]:.0f} % of the EER",
            f"training images, norm and own cosine: softmax {soft['fit_order']:+.2f}, MagFace {mag['fit_order']:+.2f}",
            f"MagFace: norm {mag['fit_norm']:.1f}, at rest {mag['fit_rest']:.1f}, correlation {mag['fit_agree']:+.2f}",
        ]
    )


def recognisers(table: pd.DataFrame, number: str = "eer") -> dict[str, pd.Series]:
    """The losses as recognisers, nothing rejected: their EER less ArcFace's at the same scale, in points."""
    pairs = [(arm, "arcface" + arm[7:]) for arm in MADE_FOR_IT]
    return {called(arm): 100 * paired(table, number, setting(arm), setting(base)).dropna() for arm, base in pairs}


def random_margins(table: pd.DataFrame) -> dict[str, pd.Series]:
    """EER with margins drawn anew less EER with their mean, in points."""
    base = setting("arcface")
    return {name: 100 * paired(table, "eer", setting(arm), base).dropna() for arm, name in NAMES.items()}


def curve(table: pd.DataFrame, wanted: Setting, kind: str, name: str, values: Sequence[float]) -> list[float]:
    """Means over seeds: of the norm (over the passport's) or the cosine, along one change."""
    return [float(rows(table, wanted)[f"{kind}_{name}_{value:g}"].mean()) for value in values]


# ---- figures --------------------------------------------------------------------------------------------------------


def across_and_along(head: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """-∂L/∂x of each sample.  (N, 2)"""
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(head(x, labels).sum(), x)
    return -slope


def draw_forces(heads: dict[str, Any], x: Tensor, labels: Tensor, weight: Tensor) -> Figure:
    """The same points under several losses whose class directions are `weight`, a panel for each."""
    fig, axes = plt.subplots(1, len(heads), figsize=(9.4, 3.3))
    for ax, (title, one) in zip(axes, heads.items(), strict=True):
        with torch.no_grad():
            one.weight.copy_(weight)
        way = across_and_along(one, x, labels)
        if "along" in title:
            way = (way * F.normalize(x)).sum(1, keepdim=True) * F.normalize(x)
        way = 0.42 * way / way.norm(dim=1).mean()
        for j in labels.unique():
            own, shade = labels == j, figures.CLASSES[int(j)]
            ax.plot([0, 3 * weight[j, 0]], [0, 3 * weight[j, 1]], color=shade, linewidth=0.6, linestyle=":")
            ax.plot(*x[own].T, "o", color=shade, markersize=3.5, markeredgewidth=0)
            ax.quiver(*x[own].T, *way[own].T, color=shade, angles="xy", scale_units="xy", scale=1, width=0.006)
        ax.plot(0, 0, "+", color="#222222", markersize=8)
        ax.set(title=title, xlim=(-2.9, 2.9), ylim=(-2.3, 3.2), aspect="equal")
        ax.axis("off")
    return fig


def draw_light(table: pd.DataFrame, seed: int, who: int = 3) -> Figure:
    """Left: norm and cosine against exposure, the face under each step. Right: norm against blur, seen and unseen."""
    steps, blurs = SETTINGS["exposures"], SETTINGS["blurs"]
    fig = plt.figure(figsize=(9.6, 4.2), layout="none")
    left, right = fig.add_axes((0.07, 0.4, 0.5, 0.52)), fig.add_axes((0.68, 0.4, 0.29, 0.52))
    for arm, shade in (("magface", figures.BLUE), ("adaface", figures.ORANGE)):
        for kind, style in (("norm", "-"), ("cos", "--")):
            ys = curve(table, setting(arm), kind, "exposure", steps)
            left.plot(steps, ys, style, marker="o", markersize=3, color=shade, label=f"{kind}, {figures.NAMES[arm]}")
    left.axhline(1, color="#999999", linewidth=0.8)
    left.set(title="exposure of a passport picture", xlim=(-1.4, 1.4), ylim=(0.2, 1.25), xticks=steps)
    left.set_xlabel("log of the gain of light", labelpad=1)
    left.legend(fontsize=7, loc="lower center", ncols=2)
    for shown, shade in (("seen", figures.BLUE), ("unseen", "#777777")):
        for kind, style in (("norm", "-"), ("cos", "--")):
            ys = curve(table, setting("magface", shown), kind, "blur", blurs)
            right.plot(blurs, ys, style, marker="o", markersize=3, color=shade, label=f"{kind}, {shown}")
    right.axhline(1, color="#999999", linewidth=0.8)
    right.set(title="blur, MagFace", ylim=(0.2, 1.25), xlim=(-0.4, 3.4), xticks=blurs)
    right.set_xlabel("σ in pixels", labelpad=1)
    right.legend(fontsize=7, loc="lower left")
    for ax, name, values in ((left, "exposure", steps), (right, "blur", blurs)):
        place, (low, high) = ax.get_position(), ax.get_xlim()
        side = 0.062
        for value in values:
            middle = place.x0 + place.width * (value - low) / (high - low)
            face = fig.add_axes((middle - side / 2, 0.06, side, side * 9.6 / 4.2))
            face.imshow(passports(seed, name, value).images[who].permute(1, 2, 0))
            face.axis("off")
    return fig


def draw_reject(table: pd.DataFrame) -> Figure:
    """Error against reject: EER of what is left, over the EER of all."""
    fig, ax = plt.subplots(figsize=(6.4, 3.8))
    shares = [0, *SETTINGS["rejected"]]

    def line(wanted: Setting, score: str, **style: Any) -> None:
        one = rows(table, wanted)
        ys = [100.0, *(100 * float((one[f"eer_{score}_{share}"] / one["eer"]).mean()) for share in shares[1:])]
        ax.plot(shares, ys, marker="o", markersize=4, **style)

    ax.axhline(100, color="#999999", linewidth=1, label="at random")
    for arm in ("softmax", "arcface", "magface", "adaface"):
        line(setting(arm), "norm", color=figures.colour(arm), label=f"norm, {figures.NAMES[arm]}")
    line(
        setting("softmax", "unseen"),
        "norm",
        color=figures.colour("softmax"),
        linestyle=":",
        label="norm, Softmax, unseen",
    )
    line(setting("softmax"), "oracle", color="#777777", linestyle="--", label="oracle, Softmax")
    ax.set(xlabel="rejected (%)", ylabel="EER of what is left, % of the EER of all", xticks=shares, ylim=(0, 108))
    ax.legend(fontsize=8, loc="lower left")
    return fig


def draw_gaps(table: pd.DataFrame) -> Figure:
    """By how much more the norm of each loss gains than softmax's, seed by seed."""
    gaps = comparisons(table)
    shades = [figures.colour(name.split(",")[0].lower()) for name in gaps]
    fig = lesson.dots(gaps, "gain less that of softmax, % of the EER; dashed: the limit", shades=shades)
    fig.axes[0].axvline(SETTINGS["limit"], color="#777777", linestyle="--", linewidth=1)
    return fig


def extremes(budget: str, count: int = 12) -> Figure:
    """Strangers' pictures that the live softmax makes longest and shortest, one for each person, with their norms."""
    seed = SETTINGS["live_seed"]
    shown = people("open", seed, "seen", budget == "smoke")
    norm = embed(live("softmax", seed, budget).net, shown).norm(dim=1).cpu()
    picked = []
    for order in (norm.argsort(descending=True), norm.argsort()):
        seen: dict[int, int] = {}
        for place in order.tolist():
            seen.setdefault(int(shown.labels[place]), place)
            if len(seen) == count:
                break
        picked.append(list(seen.values()))
    fig = figures.face_strip([shown.images[places] for places in picked])
    for row, places in enumerate(picked):
        for column, place in enumerate(places):
            fig.axes[0].text(32 * column + 1, 32 * row + 31, f"{norm[place]:.0f}", fontsize=8, color="white",
                             bbox={"facecolor": "#000000", "edgecolor": "none", "pad": 0.6})  # fmt: skip
    return fig


# ---- where a norm comes to rest -------------------------------------------------------------------------------------


def pull(a: Tensor, theta: Tensor, rest: float | Tensor, options: dict[str, float]) -> tuple[Tensor, Tensor]:
    """MagFace's pull along the norm, -∂L/∂a, and p_y, for the angle θ and the log-sum-exp `rest` of the rivals."""
    lower, upper, s = options["lower"], options["upper"], options["scale"]
    rise = (options["margin_upper"] - options["margin_lower"]) / (upper - lower)
    bent = theta + options["margin_lower"] + rise * (a - lower)
    p = torch.sigmoid(s * bent.cos() - rest)
    return options["regularizer_weight"] * (1 / a**2 - 1 / upper**2) - (1 - p) * s * rise * bent.sin(), p


def drift(theta: Tensor, start: float, steps: int, rate: float = 1.0) -> list[Tensor]:
    """Norms that follow MagFace's pull from one start, the angles held."""
    a, found = torch.full_like(theta, start), []
    for _ in range(steps + 1):
        found.append(a.clone())
        a = (a + rate * pull(a, theta, REST, MAG_8)[0]).clamp(MAG_8["lower"], MAG_8["upper"])
    return found


REST = math.log(299)  # of 299 rivals at right angles


def draw_drift(ax: Axes, curve_ax: Axes, theta: Tensor, way: list[Tensor], step: int) -> None:
    """Left the samples in the plane, class direction upwards; right the pull against the norm, and where each is."""
    signs = torch.tensor([-1.0, 1.0]).repeat(len(theta))[: len(theta)]
    cmap = plt.get_cmap("viridis")
    ax.plot([0, 0], [0, 11], color="#777777", linestyle=":", linewidth=1)
    ax.add_patch(plt.Circle((0, 0), MAG_8["lower"], fill=False, color="#999999", linewidth=0.8, linestyle="--"))
    for i, angle in enumerate(theta):
        _, p = pull(way[step][i], angle, REST, MAG_8)
        track = torch.stack([one[i] for one in way[: step + 1]])
        x, y = track * angle.sin() * signs[i], track * angle.cos()
        ax.plot(x, y, color="#aaaaaa", linewidth=0.8)
        ax.plot(x[-1], y[-1], "o", color=cmap(float(p)), markersize=7, markeredgecolor="#333333", markeredgewidth=0.5)
    ax.set(xlim=(-6.5, 6.5), ylim=(-0.3, 11), aspect="equal")
    ax.axis("off")
    grid = torch.linspace(1, 14, 261)
    for i in (0, len(theta) // 4, len(theta) // 2):
        values, p = pull(grid, theta[i], REST, MAG_8)
        now = pull(way[step][i], theta[i], REST, MAG_8)
        shade = cmap(float(now[1]))
        curve_ax.plot(grid, values, color=shade, label=f"θ = {theta[i].rad2deg():.0f}°")
        curve_ax.plot(way[step][i], now[0], "o", color=shade, markersize=7, markeredgecolor="#333333")
    curve_ax.axhline(0, color="#333333", linewidth=0.8)
    curve_ax.set(xlabel="norm a", ylabel="pull along the norm", xlim=(1, 14), ylim=(-0.25, 0.75))
    curve_ax.legend(loc="upper right", fontsize=8)


def assets(folder: Path) -> None:
    """Samples that MagFace draws out or in along their norms, until pull and push are even."""
    theta = torch.arange(5, 81, 5.0).deg2rad()
    way = drift(theta, 3.0, 120)

    def draw(step: int) -> Figure:
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.5), width_ratios=(1.35, 1))
        draw_drift(left, right, theta, way, step)
        return fig

    figures.save_gif(
        folder / "18_quality.gif",
        draw,
        [*range(12), *range(12, 30, 3), *range(30, 121, 10)],
        seconds=0.2,
        hold=2.5,
        dpi=75,
    )
