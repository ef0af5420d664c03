"""The pictures of a report: ROC and DET with their intervals, and the scores of both kinds."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from facelearn import figures
from facelearn.measuring import roc_to_draw
from facelearn.verification import AllPairsResult, VerificationResult

SIZE = (5.2, 3.8)  # small enough for a phone to show its letters
RATES = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
Say = dict[str, str]
Result = VerificationResult | AllPairsResult


def draw(result: Result, found: dict[str, Any], say: Say) -> dict[str, Figure]:
    """The figures by name; `found` as from `measuring.details`, `say` the words on them."""
    figures.use_style()
    drawn = {}
    for name, fill in PICTURES.items():
        drawn[name], ax = plt.subplots(figsize=SIZE)
        fill(ax, result, found, say)
    return drawn


def level(far: float) -> str:
    """A rate as people say it: 0.1%."""
    return f"{far:.6%}".rstrip("0%").rstrip(".") + "%"


def svg(fig: Figure) -> bytes:
    """`fig` as an SVG whose letters are letters, drawn with the reader's own fonts; the same bytes every time."""
    data = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "facelearn"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # here, not where it is read
        fig.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return data.getvalue()


def _roc(ax: Axes, result: Result, found: dict[str, Any], say: Say) -> None:
    far, tar = roc_to_draw(result)
    ax.plot(far, tar, color=figures.BLUE)
    if "low" in found["curve"][0]:
        ax.fill_between(*_band(found), color=figures.BLUE, alpha=0.2, linewidth=0)
    ax.set(
        xscale="log", xlim=(1 / result.num_impostor, 1), ylim=(0, 1.01), xlabel=say["far_axis"], ylabel=say["tar_axis"]
    )


def _det(ax: Axes, result: Result, found: dict[str, Any], say: Say) -> None:
    far, tar = roc_to_draw(result)
    figures.det(ax, far, 1 - tar, color=figures.BLUE)
    least = min(1 / result.num_impostor, 1 / result.num_genuine)
    if "low" in found["curve"][0]:
        at, low, high = _band(found)
        rejected = (norm.ppf(np.clip(1 - bound, least / 10, 1 - least / 10)) for bound in (high, low))
        ax.fill_between(norm.ppf(at), *rejected, color=figures.BLUE, alpha=0.2, linewidth=0)
    for axis, limit, count in (
        (ax.xaxis, ax.set_xlim, result.num_impostor),
        (ax.yaxis, ax.set_ylim, result.num_genuine),
    ):
        left, right = norm.ppf([0.5 / count, 0.96])
        ticks: list[float] = []
        for rate in reversed(RATES):  # their names must not lie on one another
            if norm.ppf(rate) > left and (not ticks or norm.ppf(ticks[-1]) - norm.ppf(rate) > (right - left) / 9):
                ticks.append(rate)
        axis.set_ticks(norm.ppf(ticks), [level(rate) for rate in ticks])
        limit(left, right)
    ax.set(xlabel=say["far_axis"], ylabel=say["frr_axis"])
    if legend := ax.get_legend():
        legend.remove()


def _scores(ax: Axes, result: Result, found: dict[str, Any], say: Say) -> None:
    edges = np.array(found["scores"]["edges"])
    for kind, shade in (("genuine", figures.BLUE), ("impostor", figures.ORANGE)):
        counts = np.array(found["scores"][kind])
        density = counts / max(1, counts.sum()) / np.diff(edges)
        hatch = {"genuine": "", "impostor": "///"}[kind]
        ax.stairs(density, edges, fill=True, color=shade, alpha=0.3, hatch=hatch, label=say[kind])
        ax.stairs(density, edges, color=shade, linewidth=1.5)
    ax.axvline(result.eer_threshold, color="#333333", linewidth=1.2, linestyle="--", label=say["at_eer"])
    ax.set(xlabel=say["score_axis"], ylabel=say["density_axis"], ylim=(0, 1.35 * ax.get_ylim()[1]))
    legend = ax.legend(loc="upper center", ncols=2, fontsize=9, frameon=True, framealpha=1)  # over the dashed line
    legend.get_frame().set(facecolor="white", linewidth=0)


PICTURES: dict[str, Callable[[Axes, Result, dict[str, Any], Say], None]] = {
    "roc": _roc, "det": _det, "scores": _scores,
}  # fmt: skip


def _band(found: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FAR, and the ends of the intervals of the TAR there."""
    known = [point for point in found["curve"] if "low" in point]
    far, low, high = (np.array([point[key] for point in known]) for key in ("far", "low", "high"))
    return far, low, high
