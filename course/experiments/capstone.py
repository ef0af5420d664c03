"""Chapter 21: which loss would you ship, and how sure are you?

The finals of the protocol, each loss at its own rate (`results/protocol_rates.csv`), read by rules that were written
down, and committed, before the first of their numbers was read: the reference, the bound, the tests and the claim.
Then the loss that was chosen on `tune`, and the best of the others in the finals, once more with fresh seeds.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from experiments import faces, protocol
from experiments.faces import Setting, paired, rows
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr, stdtr, stdtrit
from scipy.stats import spearmanr

from facelearn import figures, lesson
from facelearn.data import digits
from facelearn.losses import MarginHead
from facelearn.models import DigitNet
from facelearn.real_faces.table import holm
from facelearn.training import accuracy, fit, seed_everything

CHAPTER = "21_capstone"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 20,
    "shipped": "npcface",  # first on `tune` at its own rate: the reference of all comparisons
    "bound": 0.2,  # points of EER that do not matter: a tenth of NormFace's 2.3 % on `tune`
    "level": 0.95,
    "not_told": 5,  # at least so many of the 22 others are not told from the shipped one after Holm
    # Fresh seeds: the shipped one against the best of the others, whichever the finals say that is.
    # Planned from the finals at 0.004: of the ten best, differences of two scatter by 0.11 points, so that eight seeds
    # give ±0.09 and five would give ±0.14.
    "seeds": [2100, 2101, 2102, 2103, 2104, 2105, 2106, 2107],
    "rival": "sphereface",  # of the others the smallest mean EER in the finals; a test compares
    "live_seed": 2110,
}
SHIPPED, BOUND, LEVEL = SETTINGS["shipped"], SETTINGS["bound"], SETTINGS["level"]
RIVAL = SETTINGS["rival"]
NAMES = figures.NAMES | {"combined_margin": "Combined", "subcenter_arcface": "Sub-center"}
Array = np.ndarray


def setting(loss: str) -> Setting:
    return {"loss": loss}


def grid() -> Iterator[tuple[Setting, int]]:
    """The fresh seeds alone: the finals are the protocol's (`tools/protocol.py`)."""
    return ((setting(loss), seed) for seed in SETTINGS["seeds"] for loss in (SHIPPED, RIVAL))


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One training as in the finals: chosen settings, own rate, 20 epochs."""
    loss = wanted["loss"]
    found = protocol.run({**protocol.settings(loss), "lr": protocol.rate(loss)}, "open", seed, budget)
    return {name: found[name] for name in (*protocol.MEASURES, "dimension", "tail")}


def finals(rates: str = "own") -> pd.DataFrame:
    """A row for each loss and seed, at its own rate or, with "one", all at 0.004."""
    return lesson.results("protocol_rates" if rates == "own" else "protocol", protocol.SETTINGS)


# ---- 22 differences -------------------------------------------------------------------------------------------------


def levels(table: pd.DataFrame, number: str = "eer") -> pd.DataFrame:
    """Seeds down, losses across, in percent."""
    return 100 * table.pivot(index="seed", columns="loss", values=number)


def differences(table: pd.DataFrame, number: str = "eer", base: str = SHIPPED) -> pd.DataFrame:
    """Each other loss - base, seed by seed, in points."""
    x = levels(table, number)
    return x.drop(columns=base).sub(x[base], axis=0)


def judged(d: pd.DataFrame, bound: float = BOUND) -> pd.DataFrame:
    """What seeds (down) say of differences (across), smallest mean first; |mean| <= bound does not matter.

    half    half of the 95 % t interval of a single one; wide: of one that holds together with all others (Bonferroni)
    told    differs after Holm; same: within ±bound after Holm (two one-sided tests)
    """
    n, k = d.shape
    mean, error = d.mean(), d.std(ddof=1) / math.sqrt(n)
    tail = (1 - LEVEL) / 2
    found = pd.DataFrame({"mean": mean, "error": error})
    found["half"], found["wide"] = (stdtrit(n - 1, 1 - q) * error for q in (tail, tail / k))
    found["p"] = 2 * stdtr(n - 1, -mean.abs() / error)
    found["p_same"] = stdtr(n - 1, (mean.abs() - bound) / error)
    found["told"], found["same"] = (holm(found[p].to_numpy()) < 1 - LEVEL for p in ("p", "p_same"))
    return found.sort_values("mean", kind="stable")


def regret(d: pd.DataFrame) -> float:
    """At most so many points does the base cost against the best of the others: all upper limits hold at once."""
    n, k = d.shape
    error = d.std(ddof=1) / math.sqrt(n)
    return float(max(0.0, (error * stdtrit(n - 1, 1 - (1 - LEVEL) / k) - d.mean()).max()))


def counted(found: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: how many are told apart, and how many shown to be the same, by which rule."""
    alone, level = found["half"], 1 - LEVEL
    sides = [("worse than the shipped loss", found["mean"] > 0), ("better", found["mean"] < 0)]
    lines = [
        [name, str(int((side & (found["mean"].abs() > alone)).sum())), str(int((side & found["told"]).sum()))]
        for name, side in sides
    ]
    lines.append(["within ±0.2 points", str(int((found["p_same"] < level).sum())), str(int(found["same"].sum()))])
    none = ~(found["told"] | found["same"])
    free = ~((found["mean"].abs() > alone) | (found["p_same"] < level))
    lines.append(["neither told apart nor the same", str(int(free.sum())), str(int(none.sum()))])
    return ["of 22 losses", "each by itself", "after Holm"], lines


def holds(finals: pd.DataFrame, fresh: pd.DataFrame) -> bool:
    """The claim: with fresh seeds less than the bound behind the rival; in the finals many are not told apart."""
    behind = lesson.interval(lead(fresh))
    untold = int((~judged(differences(finals))["told"]).sum())
    return behind.high < BOUND and untold >= SETTINGS["not_told"]


def lead(fresh: pd.DataFrame) -> pd.Series:
    """Shipped - rival, seed by seed, in points: what shipping cost."""
    return 100 * paired(fresh, "eer", setting(SHIPPED), setting(RIVAL))


def best_other(table: pd.DataFrame) -> str:
    """Of the losses that are not shipped, the one with the smallest mean EER."""
    return str(levels(table).drop(columns=SHIPPED).mean().idxmin())


def firsts(table: pd.DataFrame) -> str:
    """Which loss is first in each seed."""
    return ", ".join(f"{seed}: {NAMES[str(row.idxmin())]}" for seed, row in levels(table).iterrows())


def smallest(table: pd.DataFrame) -> str:
    """The bold number."""
    means = levels(table).mean()
    return f"smallest mean: {NAMES[str(means.idxmin())]}, EER {means.min():.2f} %"


def percent(fresh: pd.DataFrame, loss: str) -> list[float]:
    """EER of a loss with fresh seeds."""
    return list(100 * rows(fresh, setting(loss))["eer"])


def leads(table: pd.DataFrame, fresh: pd.DataFrame) -> dict[str, pd.Series]:
    """What shipping cost against the rival: in the finals, which chose the rival, and with fresh seeds."""
    return {"finals": -differences(table)[RIVAL], "fresh seeds": lead(fresh)}


def live(budget: str) -> float:
    """EER in percent of one more training of the shipped loss, with people who are in no table."""
    return 100 * run(setting(SHIPPED), SETTINGS["live_seed"], budget)["eer"]


def toy(make: Callable[[int, int], MarginHead], seed: int = 0) -> float:
    """Train a small net on handwritten digits with a loss of one's own: accuracy on held-out digits in percent."""
    seed_everything(seed)
    net = DigitNet(8)
    loss = make(8, 10)
    fit(net, loss, digits("train"), epochs=3, batch_size=64, lr=5e-3, seed=seed)
    return 100 * accuracy(net, loss, digits("test"))


# ---- where the scatter comes from -----------------------------------------------------------------------------------


def drawn(table: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Of each seed: EER in percent of its tests with people drawn anew, draws down and losses across."""
    found = {}
    for seed, part in table.groupby("seed"):
        texts = part.set_index("loss")["people_draws"]
        found[int(str(seed))] = pd.DataFrame({loss: np.fromstring(text, sep=" ") / 1e3 for loss, text in texts.items()})
    return found


def scatter(table: pd.DataFrame) -> pd.DataFrame:
    """Of each difference to the shipped loss, in points: its standard deviation over seeds, and that by people alone.

    inside: how many of the 95 % intervals by people, one for each seed, hold the mean of the other four seeds
    """
    d = differences(table)
    found = pd.DataFrame({"seeds": d.std(ddof=1)})
    by_people = {
        seed: draws.drop(columns=SHIPPED).sub(draws[SHIPPED], axis=0)[1:] for seed, draws in drawn(table).items()
    }
    errors = pd.DataFrame({seed: draws.std(ddof=1) for seed, draws in by_people.items()}).T[d.columns]
    others = (d.sum() - d) / (len(d) - 1)
    found["people"] = (errors**2).mean() ** 0.5
    found["inside"] = ((d - others).abs() <= 1.96 * errors).sum()
    return found


def share(found: pd.DataFrame) -> float:
    """The part of the variance over seeds that is the luck of the test's people, all losses together."""
    return float((found["people"] ** 2).sum() / (found["seeds"] ** 2).sum())


def sources(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: what scatters in a difference, and what an interval by people is worth."""
    found = scatter(table)
    part = share(found)
    covered = 2 * ndtr(1.96 * math.sqrt(part / 1.25)) - 1  # the mean of four others scatters too
    lines = [
        ["scatter over seeds, points", f"{(found['seeds'] ** 2).mean() ** 0.5:.2f}"],
        ["scatter by people alone", f"{(found['people'] ** 2).mean() ** 0.5:.2f}"],
        ["people's share of the variance", f"{part:.0%}"],
        ["intervals by people that hold the other seeds' mean", f"{found['inside'].sum() / 110:.0%}"],
        ["the same, by step 3 with q / 1.25", f"{covered:.0%}"],
        ["losses that scatter more by people than over seeds", f"{(found['people'] > found['seeds']).sum()} of 22"],
    ]
    return ["differences of 22 losses to the shipped one", ""], lines


# ---- orders ---------------------------------------------------------------------------------------------------------


def on_tune(rates: str = "own") -> pd.Series:
    """EER on `tune` in percent, of each loss with its chosen setting, at its own rate or at 0.004."""
    folder = lesson.course_folder() / "results"
    table = pd.concat([pd.read_csv(folder / f"{name}.csv") for name in ("search", "search_rates")])
    found = {(row["loss"], row["setting"]): 100 * row["eer"] for _, row in table.iterrows()}
    chosen = {}
    for loss in protocol.GRIDS:
        recipe, lr = protocol.settings(loss), protocol.rate(loss)
        one = recipe if rates == "one" or lr == protocol.SETTINGS["training"]["lr"] else {**recipe, "lr": lr}
        chosen[loss] = found[loss, protocol.words(one)]
    return pd.Series(chosen)


def on_photographs() -> pd.Series:
    """EER on all pairs of LFW's held-out people in percent, eight losses, means of three seeds (`real_faces.csv`)."""
    table = pd.read_csv(lesson.course_folder() / "results" / "real_faces.csv")
    table = table[(table["system"] == "net") & (table["rotation"] == "all")]
    found = 100 * table.groupby("loss")["every_eer"].mean()
    return found[[loss for loss in found.index if loss in protocol.GRIDS]]


def orders(own: pd.DataFrame, one: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: do two orders agree?"""
    ours, strict = levels(own).mean(), -levels(own, "tar_1e3").mean()
    asked = {
        "own rates: tune and open": (on_tune(), ours),
        "open: 0.004 and own rates": (levels(one).mean(), ours),
        "0.004: tune and open": (on_tune("one"), levels(one).mean()),
        "own rates: EER and TAR@1e-3": (ours, strict),
        "own rates, and photographs": (ours, on_photographs()),
    }
    lines = []
    for name, (a, b) in asked.items():
        both = [loss for loss in a.index if loss in b.index]
        found = spearmanr(a[both], b[both])
        firsts = [NAMES[str(order[both].idxmin())] for order in (a, b)]
        lines.append([name, str(len(both)), f"{found.statistic:.2f}", *firsts])
    return ["orders compared", "losses", "rank correlation", "first of one", "of the other"], lines


def ledger() -> str:
    """How the course's claims fared with fresh seeds: the count on the page that `results/claims.csv` makes."""
    page = lesson.course_folder() / "en" / "claims.md"
    found = page.is_file() and re.search(r"Run again \d+: [^.]+\.", page.read_text(encoding="utf-8"))
    return "claims of all chapters: " + (found[0] if found else "not run again yet")


def for_report(table: pd.DataFrame) -> tuple[dict[str, list[float]], dict[str, float], float]:
    """What a report is written from: EER in percent, a number a seed; EER on `tune`; the bound."""
    x = levels(table)
    tune = {str(loss): float(rate) for loss, rate in on_tune().items()}
    return {str(loss): x[loss].tolist() for loss in x}, tune, BOUND


def page(fields: dict[str, Any]) -> str:
    """The report of one page; what only its author can say is left open."""
    said = {name: fields[name] or "none" for name in ("told", "same", "open")}
    lines = (
        f"Shipped: {fields['ship']}, chosen on `tune`; measured on people and seeds that chose nothing",
        f"Regret: at most {fields['regret']:.2f} points of EER in 95 of 100 cases, against all others at once",
        f"Told apart: {said['told']}",
        f"The same within {BOUND} points: {said['same']}",
        f"Open: {said['open']}",
        "Written down before: ...",
        "Found afterwards: ...",
        "Not measured (people, nets, photographs, groups): ...",
    )
    return "\n".join(textwrap.fill(line, 96, subsequent_indent="    ") for line in lines)


# ---- figures --------------------------------------------------------------------------------------------------------


def draw_equal(losses: int = 23, seeds: int = 5, draw: int = 0) -> Figure:
    """Places of equal losses in five tests, and by their means: nothing here is better than anything."""
    x = np.random.default_rng(draw).normal(size=(seeds, losses))
    places = np.argsort(np.argsort(np.vstack([x, x.mean(0)]), axis=1), axis=1) + 1  # (seeds + 1, losses)
    fig, ax = plt.subplots(figsize=(7.2, 3.8))
    best = int(places[-1].argmin())
    for loss in range(losses):
        shade, wide = (figures.ORANGE, 2.5) if loss == best else ("#BBBBBB", 1)
        ax.plot(range(seeds + 1), places[:, loss], "o-", color=shade, linewidth=wide, zorder=2 + (loss == best))
    ax.set_xticks(range(seeds + 1), [*(f"seed {s + 1}" for s in range(seeds)), "mean"])
    ax.set(ylabel="place", ylim=(losses + 0.7, 0.3), yticks=[1, 5, 10, 15, 20, 23])
    return fig


def draw_price() -> Figure:
    """Half widths in units of the scatter, for one comparison and for 22 at once, against the number of seeds.

    The axis is logarithmic: what it costs to be many is a factor, the distance of the two lines.
    """
    n = np.arange(3, 21)
    fig, ax = plt.subplots(figsize=(5.6, 3.2))
    for k, shade in ((1, figures.BLUE), (22, figures.ORANGE)):
        ax.plot(n, stdtrit(n - 1, 1 - 0.025 / k) / np.sqrt(n), "o-", color=shade, label=f"{k} at once")
    ax.set(xlabel="seeds", ylabel="half width / scatter", xticks=[3, 5, 10, 15, 20], yscale="log", ylim=(0.4, 15))
    ax.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    ax.set_yticks([], minor=True)
    ax.legend()
    return fig


def forest(d: pd.DataFrame, ax: Axes | None = None, order: list[str] | None = None, reach: float = 2.3) -> Figure:
    """Each difference with its own 95 % interval (thick) and one that holds together with all others (thin)."""
    found = judged(d)
    found = found.loc[order or list(found.index)]
    if ax is None:
        _, ax = plt.subplots(figsize=(8.2, 6.6))
    ax.axvspan(-BOUND, BOUND, color="#E4EFE4", zorder=0)
    ax.axvline(0, color="#333333", linewidth=1)
    for y, (loss, row) in enumerate(found.iterrows()):
        shade = figures.colour(str(loss))
        for half, wide in (("wide", 1.2), ("half", 4)):
            ends = np.clip([row["mean"] - row[half], row["mean"] + row[half]], -9, 9)
            ax.plot(ends, [y, y], color=shade, linewidth=wide, solid_capstyle="butt")
        ax.plot(row["mean"], y, "o", color=shade, markersize=7, markerfacecolor=shade if row["told"] else "white")
        said = "told" * bool(row["told"]) + " + " * bool(row["told"] and row["same"]) + "same" * bool(row["same"])
        ax.text(reach * 1.02, y, said or "open", ha="left", va="center", fontsize=9, color="#333333")
    ax.set_yticks(range(len(found)), [NAMES[str(loss)] for loss in found.index], fontsize=9)
    ax.set(ylim=(len(found) - 0.4, -0.6), xlim=(-0.55, reach), xlabel=f"EER, points, against {NAMES[SHIPPED]}")
    fig = ax.figure
    assert isinstance(fig, Figure)
    return fig


def draw_leads(leads: dict[str, pd.Series]) -> Figure:
    """A row for each set of seeds, and the bound."""
    fig = lesson.dots(leads, "EER, points: shipped - rival")
    fig.axes[0].axvline(BOUND, color="#333333", linewidth=1, linestyle="--")
    return fig


#: Where the name of a loss stands beside its dot, in points, where above right would hide another.
BESIDE: dict[str, dict[str, tuple[int, int] | None]] = {
    "eer": {
        "sphereface": (-55, -4),
        "arcface": (-40, 7),
        "npcface": (-90, -4),
        "subcenter_arcface": None,
        "discface": (-4, -13),
        "elasticface": (6, -4),
        "combined_margin": (-18, 9),
        "mv_softmax": (6, 2),
        "center": (4, 7),
        "triplet": (5, -11),
        "cosface": (-12, 8),
        "adaface": (-8, -13),
        "normface": (-26, -13),
    },
    "tail": {
        "contrastive": (6, 2),
        "supcon": (6, -6),
        "triplet": (-6, 7),
        "subcenter_arcface": (-57, -2),
        "npcface": (-46, -6),
        "sphereface": (-30, -13),
        "discface": (7, 0),
        "elasticface": (7, -2),
        "combined_margin": (-14, -13),
        "cosface": (-8, 8),
        "adaface": (-6, -13),
        "softmax": (-10, -13),
        "l2_softmax": (7, -2),
    },
}


def plane(table: pd.DataFrame, base: str = "normface") -> Figure:
    """Each loss by the effective dimension of strangers' embeddings; what leaving NormFace for it moves."""
    fig, axes = plt.subplots(1, 2, figsize=(10.6, 5.2))
    means = table.groupby("loss")[["dimension", "eer", "tail"]].mean()
    means["eer"] *= 100
    for ax, number, label in ((axes[0], "eer", "EER %"), (axes[1], "tail", "cosine of one impostor pair in 1,000")):
        start = means.loc[base]
        for loss, row in means.iterrows():
            shade = figures.colour(str(loss))
            if loss != base:  # grey: a picture holds 256 colours, and those of the dots must stay as they are
                style = {"arrowstyle": "->", "color": "#D4D4D4", "linewidth": 1}
                ends = (row["dimension"], row[number]), (start["dimension"], start[number])
                ax.annotate("", *ends, arrowprops=style, zorder=1)
            ax.plot(row["dimension"], row[number], "o", color=shade, markersize=7)
            place = BESIDE[number].get(str(loss), (5, 4))
            if place:
                at = (row["dimension"], row[number])
                name = NAMES[str(loss)]
                if (number, loss) == ("eer", "npcface"):
                    name += ", " + NAMES["subcenter_arcface"]  # one dot lies on the other
                ax.annotate(name, at, place, textcoords="offset points", fontsize=8)
        ax.set(xlabel="effective dimension of strangers", ylabel=label, xlim=(8.2, 27.8), xticks=[10, 15, 20, 25])
    axes[0].set_yscale("log")
    axes[0].set_yticks([1.5, 2, 2.5, 3], ["1.5", "2", "2.5", "3"])
    axes[0].set_yticks([], minor=True)
    return fig


def assets(folder: Path) -> None:
    """The forest while the seeds come in: two, three, four, five."""
    d = differences(finals())
    order = list(judged(d).index)

    def draw(n: int) -> Figure:
        fig, ax = plt.subplots(figsize=(7.2, 6.2))
        forest(d.iloc[:n], ax, order)
        ax.set_title(f"{n} seeds; smallest mean: {NAMES[str(judged(d.iloc[:n]).index[0])]}")
        return fig

    figures.save_gif(folder / "21_forest.gif", draw, range(2, len(d) + 1), seconds=1.6, hold=4, dpi=70, colours=256)
