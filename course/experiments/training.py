"""Chapter 19: how much comes from the loss and how much from everything else? A screen, then its confirmation.

Eight factors at two levels each, in 16 of their 256 combinations: a fractional factorial of resolution IV (Box, Hunter
and Hunter). Four factors run through all their combinations, the columns of the other four are products of three of
these (`GENERATORS`). The upper level of each factor is that of a recipe, so the last of the 16 runs is the recipe
itself. What the screen proposes, fresh seeds decide: there the recipe has one thing changed at a time.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from experiments import decay, faces
from experiments.faces import Setting, Trained, paired
from experiments.hard_negatives import mislabelled
from experiments.l2_softmax import dimension
from experiments.symptoms import first_losses  # noqa: F401 - the chapter calls it
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.special import stdtrit
from torch import Tensor

from facelearn import figures, lesson
from facelearn.data.image_set import ImageSet, subset
from facelearn.data.samplers import PKBatches
from facelearn.losses import ArcFace, NormFace, Softmax, SubCenterArcFace
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, one_cycle, seed_everything
from facelearn.verification import all_pairs, evaluate_pairs

CHAPTER = "19_training"

#: Of each factor: the other level, and that of the recipe.
FACTORS: dict[str, tuple[Any, Any]] = {
    "loss": ("normface", "arcface"),
    "rate": (4e-3, 1.6e-2),
    "epochs": (4, 8),
    "width": (4, 8),
    "augment": (False, True),
    "names": (0.2, 0.0),  # the share of training images under a wrong name
    "batches": ("32 x 4", "shuffled"),
    "decay": (0.5, 5e-4),  # weight decay on the class weights alone
}
GENERATORS = {"augment": (1, 2, 3), "names": (0, 2, 3), "batches": (0, 1, 2), "decay": (0, 1, 3)}
RECIPE: Setting = {name: levels[1] for name, levels in FACTORS.items()} | {
    "scale": 8.0,
    "margin": 0.6,
    "warmup": 0.0,  # the share of the steps in which the margin grows from 0
    "cleaned": "no",
}
SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "factors": {name: list(levels) for name, levels in FACTORS.items()},
    "generators": {name: list(parents) for name, parents in GENERATORS.items()},
    "recipe": RECIPE,
    "seeds": [1900, 1901, 1902],
    "fresh_seeds": [1910, 1911, 1912, 1913, 1914],
    "live_seed": 1940,
    "arms": {
        "recipe": {},
        **{name: {name: levels[0]} for name, levels in FACTORS.items() if name in ("loss", "rate", "epochs", "names")},
        "softmax": {"loss": "softmax"},
        # a fifth of the names wrong
        "NormFace, noisy": {"loss": "normface", "names": 0.2},
        "Sub-center, noisy": {"loss": "subcenter", "names": 0.2},
        "cleaned": {"names": 0.2, "cleaned": "outliers"},
        "oracle": {"names": 0.2, "cleaned": "oracle"},
        # as many steps as "cleaned" has in its two trainings
        "noisy, 16 epochs": {"names": 0.2, "epochs": 16},
        "recipe, 16 epochs": {"epochs": 16},
    },
}
SETTINGS["beside"] = {  # fewer seeds
    # another scale, its margin from `tune` too (chapter 18)
    "loss, s = 32": {"loss": "normface", "scale": 32.0},
    "recipe, s = 32": {"scale": 32.0, "margin": 0.2},
    # the margin comes at once, or grows over half of the steps
    "warmed up": {"warmup": 0.5},
}


def setting(**changes: Any) -> Setting:
    """The recipe, with changes: what a row varies."""
    if unknown := set(changes) - set(RECIPE):
        raise ValueError(f"setting: {', '.join(sorted(unknown))}: expected some of {', '.join(RECIPE)}")
    return RECIPE | changes


# ---- the design -----------------------------------------------------------------------------------------------------


def design() -> np.ndarray:
    """The screen: a row for each run, a column for each factor, 1 for the recipe's level, -1 for the other.  (16, 8)"""
    free = np.array(list(itertools.product((-1, 1), repeat=4)))
    return np.column_stack([free, *(free[:, list(parents)].prod(axis=1) for parents in GENERATORS.values())])


def screen() -> list[Setting]:
    """The 16 settings of the screen, in the order of the design."""
    return [
        setting(**{name: levels[int(sign > 0)] for (name, levels), sign in zip(FACTORS.items(), row, strict=True)})
        for row in design()
    ]


def arm(name: str) -> Setting:
    """The recipe with the change of one arm of the confirmation."""
    return setting(**(SETTINGS["arms"] | SETTINGS["beside"])[name])


def grid() -> Iterator[tuple[Setting, int]]:
    """A seed at a time, so that its people are drawn once: first the screen, then the confirmation on fresh seeds."""
    for seed in SETTINGS["seeds"]:
        yield from ((one, seed) for one in screen())
    for seed in SETTINGS["fresh_seeds"]:
        yield from ((arm(name), seed) for name in SETTINGS["arms"])
    for seed in SETTINGS["fresh_seeds"][:3]:
        yield from ((arm(name), seed) for name in SETTINGS["beside"])


# ---- one training ---------------------------------------------------------------------------------------------------


def head(wanted: Setting, dim: int, classes: int) -> Any:
    frame = {"scale": wanted["scale"]}
    if wanted["loss"] == "softmax":
        return Softmax(dim, classes, bias=False)
    if wanted["loss"] == "normface":
        return NormFace(dim, classes, **frame)
    if wanted["loss"] == "subcenter":
        return SubCenterArcFace(dim, classes, margin=wanted["margin"], num_subcenters=3, **frame)
    return ArcFace(dim, classes, margin=wanted["margin"], **frame)


def before_each_step(wanted: Setting, loss: Any) -> Callable[[int, int], None]:
    """What is done to the loss on the way: its margin grows, its class weights shrink as AdamW would shrink them."""
    own = wanted["decay"] != RECIPE["decay"]
    if own:
        loss.no_weight_decay = ("weight",)  # the hook below does it instead

    def hook(step: int, total: int) -> None:
        if wanted["warmup"]:
            loss.margin = wanted["margin"] * min(1.0, step / (wanted["warmup"] * total))
        if own:
            with torch.no_grad():
                loss.weight.mul_(1 - wanted["decay"] * wanted["rate"] * one_cycle(step, total)[0])

    return hook


def shown(wanted: Setting, seed: int, few: bool = False) -> ImageSet:
    """What is trained on. "outliers": without what a sub-centre loss calls mislabelled; "oracle": without what is."""
    data = mislabelled(seed, wanted["names"], few) if wanted["names"] else faces.people("fit", seed, few)
    if wanted["cleaned"] == "no":
        return data
    return subset(data, ~suspects(wanted, seed, few))


@lru_cache(maxsize=1)
def _judged(share: float, seed: int, few: bool) -> Tensor:
    judge = train(setting(loss="subcenter", names=share), seed, "smoke" if few else "full")
    angle = math.radians(120 if few else 75)  # after one epoch nothing lies within 75 degrees
    return judge.loss.outliers(embed(judge.net, judge.faces), judge.faces.labels, angle=angle).cpu()


def suspects(wanted: Setting, seed: int, few: bool = False) -> Tensor:
    """The images that are left out, as a mask (N,)."""
    data, truth = mislabelled(seed, wanted["names"], few), faces.people("fit", seed, few)
    return data.labels != truth.labels if wanted["cleaned"] == "oracle" else _judged(wanted["names"], seed, few)


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One net; at "smoke" one epoch with a few people. The last is kept: what judges names is also measured itself."""
    return _train(json.dumps(wanted), seed, budget)


@lru_cache(maxsize=1)
def _train(words: str, seed: int, budget: str) -> Trained:
    wanted, few = json.loads(words), budget == "smoke"
    data = shown(wanted, seed, few)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"] | {"width": wanted["width"]})
    loss = head(wanted, net.embedding_dim, int(data.labels.max()) + 1)
    options = {
        **SETTINGS["training"],
        "lr": wanted["rate"],
        "augment": ShiftAndGain() if wanted["augment"] else None,
        "batches": None if wanted["batches"] == "shuffled" else PKBatches(8 if few else 32, 4, small="drop"),
        "on_step": before_each_step(wanted, loss),
    }
    fit(net, loss, data, epochs=1 if few else wanted["epochs"], seed=seed, **options)
    return Trained(net, loss, data)


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row: error rates over all pairs of strangers, effective dimension of their embeddings, length of W's rows.

    Where mislabelled images were left out: the share of them that was found, and the share of the rest that went too.
    """
    few = budget == "smoke"
    net, loss, _ = train(wanted, seed, budget)
    strangers = faces.people("open", seed, few)
    x = embed(net, strangers).cpu()
    found = evaluate_pairs(x, *all_pairs(strangers.labels))
    row = {
        "eer": found.eer,
        "tar_1e3": found.tar_at(1e-3),
        "dimension": dimension(x),
        "length": float(loss.weight.detach().norm(dim=1).mean()),
    }
    if wanted["cleaned"] != "no":
        out = suspects(wanted, seed, few)
        wrong = mislabelled(seed, wanted["names"], few).labels != faces.people("fit", seed, few).labels
        row |= {"caught": float(out[wrong].double().mean()), "lost": float(out[~wrong].double().mean())}
    return row


LIVE = ("names", "recipe")  # what a notebook trains once more


@lru_cache(maxsize=4)
def live(name: str, budget: str) -> float:
    """The EER of an arm of the confirmation with the seed of the notebooks."""
    return run(arm(name), SETTINGS["live_seed"], budget)["eer"]


# ---- reading the table ----------------------------------------------------------------------------------------------


def outcomes(table: pd.DataFrame, number: str = "eer") -> pd.DataFrame:
    """A row for each seed of the screen, a column for each of its 16 runs, in points of percent."""
    return pd.DataFrame({i: 100 * faces.rows(table, one)[number] for i, one in enumerate(screen())}).loc[
        SETTINGS["seeds"]
    ]


def effects(table: pd.DataFrame, number: str = "eer") -> pd.DataFrame:
    """What each factor's step to the recipe's level changes, on average over the others: seed by seed, in points."""
    return pd.DataFrame(outcomes(table, number).to_numpy() @ design() / 8, SETTINGS["seeds"], list(FACTORS))


def groups() -> list[list[tuple[str, str]]]:
    """The pairs of factors whose products are one and the same column: seven groups of four."""
    found: dict[bytes, list[tuple[str, str]]] = {}
    for (i, a), (j, b) in itertools.combinations(enumerate(FACTORS), 2):
        found.setdefault((design()[:, i] * design()[:, j]).tobytes(), []).append((a, b))
    return list(found.values())


def interactions(table: pd.DataFrame, number: str = "eer") -> pd.DataFrame:
    """The effect of each group's common column: the sum of four interactions, seed by seed, in points."""
    runs, columns = outcomes(table, number).to_numpy(), dict(zip(FACTORS, design().T, strict=True))
    found = {" ".join(f"{a}×{b}" for a, b in group): runs @ (columns[group[0][0]] * columns[group[0][1]]) / 8
             for group in groups()}  # fmt: skip
    return pd.DataFrame(found, SETTINGS["seeds"])


def scatter(table: pd.DataFrame, number: str = "eer", level: float = 0.95) -> float:
    """Half the width of the interval of any effect: its scatter over seeds, pooled over the 15 columns of the design.

    All columns are differences of two halves of the same 16 runs; single runs that scatter alike scatter them alike.
    """
    every = pd.concat([effects(table, number), interactions(table, number)], axis=1)
    freedom = every.shape[1] * (len(every) - 1)
    variance = float(((every - every.mean()) ** 2).to_numpy().sum()) / freedom
    return float(stdtrit(freedom, (1 + level) / 2)) * (variance / len(every)) ** 0.5


def order(table: pd.DataFrame) -> list[str]:
    """The factors, largest effect on the EER first."""
    return list(effects(table).mean().abs().sort_values(ascending=False).index)


def cost(table: pd.DataFrame, name: str, base: str = "recipe", number: str = "eer") -> pd.Series:
    """How much higher a number is in one arm of the confirmation than in another, seed by seed, in points."""
    return 100 * paired(table, number, arm(name), arm(base))


NAMES = {
    "loss": "NormFace → ArcFace",
    "rate": "rate 0.004 → 0.016",
    "epochs": "4 → 8 epochs",
    "width": "half → whole width",
    "augment": "augmentation",
    "names": "1/5 wrong → right names",
    "batches": "32 × 4 → shuffled",
    "decay": "decay of W 0.5 → 0.0005",
}
LARGEST = 3  # so many effects of the screen are confirmed


def places(table: pd.DataFrame) -> str:
    """The steps in the order of what they change, with the change of the EER in points."""
    mean, times = effects(table).mean(), np.exp(np.log(ratios(table)).mean())
    lines = [f"{name}: EER {mean[name]:+.2f} points, or times {times[name]:.2f}" for name in order(table)]
    return "\n".join(f"{place}. {line}" for place, line in enumerate(lines, 1))


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """What each step multiplies the EER by, seed by seed: effects on its logarithm."""
    runs = np.log(outcomes(table).to_numpy())
    return pd.DataFrame(np.exp(runs @ design() / 8), SETTINGS["seeds"], list(FACTORS))


def confirmed(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Of the largest, on fresh seeds, one change at a time: what is lost without it, less what without ArcFace."""
    return {name: cost(table, name) - cost(table, "loss") for name in order(table)[:LARGEST]}


NOISY = {"NormFace": "NormFace, noisy", "ArcFace": "names", "Sub-center": "Sub-center, noisy"}


def repaired(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The EER with a fifth of the names wrong, by loss, less that of NormFace with right names."""
    return {loss: cost(table, name, "loss") for loss, name in NOISY.items()}


def holds(table: pd.DataFrame) -> bool:
    """Is the loss none of the largest of the screen; does each of them cost more than the margin on fresh seeds?"""
    largest = order(table)[:LARGEST]
    if "loss" in largest or not set(largest) <= set(SETTINGS["arms"]):
        return False
    return all(lesson.interval(values).low > 0 for values in confirmed(table).values())


def behind(table: pd.DataFrame) -> bool:
    """With a fifth of the names wrong: does every loss tried stay above NormFace with right names?"""
    return all(lesson.interval(values).low > 0 for values in repaired(table).values())


def differences(table: pd.DataFrame) -> str:
    """What is compared with what, seed by seed: points of EER."""
    more = {f"{CHANGED[name]}, less NormFace": values for name, values in confirmed(table).items()}
    more |= {
        f"softmax, less {CHANGED[name]}": cost(table, "softmax") - cost(table, name) for name in ("names", "epochs")
    }
    pairs = interactions(table).mean()
    columns = [f"{name.split()[0]} {pairs[name]:+.2f}" for name in pairs.abs().sort_values(ascending=False).index]
    lines = [f"{words}: {lesson.interval(values):+.2f}" for words, values in more.items()]
    mean = effects(table).mean()
    screened = f"{mean['epochs'] - mean['loss']:+.2f} ± {2**0.5 * scatter(table):.2f}"
    lines.append(f"in the screen, epochs less loss: {screened}")
    lines.append("the screen's columns of pairs, each by one of four:")
    return "\n".join([*lines, ", ".join(columns[:4]), ", ".join(columns[4:])])


# ---- pictures -------------------------------------------------------------------------------------------------------


def draw_design() -> Figure:
    """The screen as squares."""
    fig, ax = plt.subplots(figsize=(5.2, 5.0))
    for (r, c), sign in np.ndenumerate(design()):
        shade = figures.ORANGE if r == 15 else figures.BLUE
        ax.add_patch(plt.Rectangle((c - 0.36, r - 0.36), 0.72, 0.72, facecolor=shade if sign > 0 else "none",
                                   edgecolor=shade, linewidth=1))  # fmt: skip
    letters = [f"{letter}\n{name}" for letter, name in zip("ABCDEFGH", FACTORS, strict=True)]
    ax.set_xticks(range(8), labels=letters, fontsize=9)
    ax.set_yticks(range(16), labels=[*map(str, range(1, 16)), "recipe"])
    ax.set(xlim=(-0.6, 7.6), ylim=(15.6, -0.6), ylabel="training")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return fig


def draw_tornado(table: pd.DataFrame) -> Figure:
    """What each step does to EER and TAR, the largest first: seeds, intervals, and wider ones for all eight at once."""
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 4.2), sharey=True)
    names = order(table)
    for ax, number, label in zip(axes, ("eer", "tar_1e3"), ("EER, points", "TAR at FAR 1e-3, points"), strict=True):
        found = effects(table, number)
        for y, name in enumerate(names):
            shade = figures.ORANGE if name == "loss" else figures.BLUE
            mean = found[name].mean()
            ax.barh(y, mean, color=shade, alpha=0.35, height=0.62)
            for level, width in ((0.95, 4), (1 - 0.05 / len(FACTORS), 1)):
                half = scatter(table, number, level)
                ax.plot([mean - half, mean + half], [y, y], color=shade, linewidth=width, solid_capstyle="butt")
            ax.plot(found[name], [y] * len(found), "o", color="#222222", markersize=2.5)
        ax.axvline(0, color="#333333", linewidth=1)
        ax.set(xlabel=f"change of the {label}")
    axes[0].set_yticks(range(len(names)), labels=[NAMES[name] for name in names])
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    return fig


def wrong_names(seed: int, person: int = 0, images: int = 12) -> Figure:
    """Some of the images that bear one name, drawn at random: with right names, and with a fifth of them wrong."""
    draws, rows = torch.Generator().manual_seed(1), []
    for one in (faces.people("fit", seed, True), mislabelled(seed, FACTORS["names"][0], True)):
        named = one.images[one.labels == person]
        rows.append(named[torch.randperm(len(named), generator=draws)[:images]])
    return figures.face_strip(rows)


def table_of_confirmation(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what one change to the recipe does on fresh seeds, beside the effect of the screen."""
    rows = []
    for name in [*order(table)[:LARGEST], "loss", "softmax"]:
        screened = f"{-effects(table)[name].mean():+.2f}" if name in FACTORS else ""
        lost, tar = (lesson.interval(cost(table, name, number=number)) for number in ("eer", "tar_1e3"))
        spread = 100 * faces.rows(table, arm(name))["eer"].mean()
        rows.append([CHANGED.get(name, name), f"{spread:.2f}", screened, f"{lost:+.2f}", f"{tar:+.1f}"])
    head = ["recipe, but", "EER, %", "EER by the screen", "EER, fresh seeds", "TAR@1e-3, fresh seeds"]
    return head, rows


CHANGED = {
    "loss": "NormFace",
    "softmax": "plain softmax",
    "rate": "rate 0.004",
    "names": "a fifth of the names wrong",
    "epochs": "4 epochs",
    "width": "half the width",
    "augment": "no augmentation",
}


def draw_confirmed(table: pd.DataFrame) -> Figure:
    """What is lost, one change at a time, on fresh seeds."""
    names = [*order(table)[:LARGEST], "loss", "softmax"]
    shades = [figures.ORANGE if name in ("loss", "softmax") else figures.BLUE for name in names]
    groups = {CHANGED[name]: cost(table, name) for name in names}
    return lesson.dots(groups, "EER above the recipe's, points", shades=shades)


def draw_noise(table: pd.DataFrame) -> Figure:
    """A fifth of the names wrong: EER against NormFace with right names."""
    groups = {f"{loss}, 1/5 wrong": values for loss, values in repaired(table).items()}
    more = {
        "ArcFace, outliers dropped": "cleaned",
        "ArcFace, wrong ones dropped": "oracle",
        "ArcFace, 1/5 wrong, 16 epochs": "noisy, 16 epochs",
        "Softmax, all right": "softmax",
        "ArcFace, all right": "recipe",
        "ArcFace, all right, 16 epochs": "recipe, 16 epochs",
    }
    groups |= {words: cost(table, name, "loss") for words, name in more.items()}
    stems = ["normface", "arcface", "subcenter_arcface", *["arcface"] * 3, "softmax", *["arcface"] * 2]
    return lesson.dots(groups, "EER above NormFace's with right names, points", shades=[*map(figures.colour, stems)])


def cleaning(table: pd.DataFrame) -> str:
    """What wrong names cost, what the sub-centres find, what is left to lose without it, what more steps give."""

    def less(name: str, base: str) -> str:
        return f"{lesson.interval(cost(table, name, base)):+.2f}"

    one = faces.rows(table, arm("cleaned"))
    caught, lost = (lesson.interval(100 * one[name]) for name in ("caught", "lost"))
    above = ", ".join(f"{loss} {lesson.interval(values):+.2f}" for loss, values in repaired(table).items())
    spared = lesson.interval(cost(table, "NormFace, noisy", "loss") - cost(table, "names"))
    compared = {
        "outliers dropped": {
            "all left in": "names",
            "wrong ones dropped": "oracle",
            "all right": "recipe",
            "NormFace, all right": "loss",
        },
        "16 epochs, all left in": {
            "outliers dropped": "cleaned",
            "NormFace, all right": "loss",
            "16 epochs, all right": "recipe, 16 epochs",
        },
    }
    arms = {"outliers dropped": "cleaned", "16 epochs, all left in": "noisy, 16 epochs"}
    lines = ["1/5 wrong, less NormFace with right names", f"    {above}"]
    lines.append(f"NormFace less ArcFace, both 1/5 wrong: {less('NormFace, noisy', 'names')}")
    lines.append(f"what wrong names cost NormFace, less what they cost ArcFace: {spared:+.2f}")
    lines.append(f"outliers: {caught:.0f} % of the wrong ones, {lost:.1f} % of the right ones")
    for words, against in compared.items():
        lines.append(f"ArcFace, {words}, less")
        lines += [f"    {name}: {less(arms[words], base)}" for name, base in against.items()]
    return "\n".join(lines)


def also(table: pd.DataFrame) -> str:
    """The loss at another scale and rate; the margin that warms up. EER in points, 95 % intervals."""
    pairs = {
        "NormFace instead, s = 32": ("loss, s = 32", "recipe, s = 32"),
        "m = 0.6 warmed up": ("warmed up", "recipe"),
    }
    lines = []
    for words, (one, base) in pairs.items():
        eer, tar = (lesson.interval(cost(table, one, base, number)) for number in ("eer", "tar_1e3"))
        lines.append(f"{words}: EER {eer:+.2f}, TAR@1e-3 {tar:+.1f}")
    return "\n".join(lines)


# ---- the animation ------------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """Rows with decay, with a growing rate, and with neither."""
    frame = decay.draw(*decay.twins())
    figures.save_gif(folder / "19_training.gif", frame, range(0, 121, 5), seconds=0.2, hold=2.5, dpi=75)
