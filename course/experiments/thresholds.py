"""Pictures of chapter 01: a threshold between the scores of two kinds of pairs, and its place on the ROC."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

GENUINE, IMPOSTOR = "#44AA99", "#882255"  # light and dark: every reader tells them apart, and neither is a loss


def histograms(ax: Axes, scores: Any, same: Any, threshold: float, bins: int = 48) -> tuple[float, float]:
    """Scores of both kinds, each with area 1; what is accepted wrongly and rejected wrongly is filled. FAR, TAR."""
    scores, same = np.asarray(scores), np.asarray(same)
    edges = np.linspace(float(scores.min()), 1.0, bins + 1)
    for kind, shade, name in ((~same, IMPOSTOR, "impostor"), (same, GENUINE, "genuine")):
        height, _ = np.histogram(scores[kind], edges, density=True)
        ax.stairs(height, edges, color=shade, linewidth=1.6, label=name)
        fine = np.linspace(edges[0], edges[-1], 1001)
        curve = height[np.clip(np.searchsorted(edges, fine, side="right") - 1, 0, bins - 1)]
        wrong = fine >= threshold if name == "impostor" else fine < threshold
        hatch = "////" if name == "impostor" else "\\\\\\\\"
        ax.fill_between(fine, curve, where=wrong, color=shade, alpha=0.35, linewidth=0)
        ax.fill_between(fine, curve, where=wrong, facecolor="none", edgecolor=shade, hatch=hatch, linewidth=0)
    ax.axvline(threshold, color="#222222", linewidth=1.6)
    ax.set(xlabel="score (cosine)", xlim=(edges[0], 1), yticks=[], ylim=(0, None))
    return float((scores[~same] >= threshold).mean()), float((scores[same] >= threshold).mean())


def roc_with_dot(ax: Axes, scores: Any, same: Any, far: float, tar: float) -> None:
    """The ROC of the scores, the line FAR = 1 - TAR, and a dot at one threshold's rates."""
    scores, same = np.asarray(scores), np.asarray(same)
    order = np.argsort(-scores, kind="stable")
    end = np.append(np.diff(scores[order]) != 0, True)  # one point per distinct score
    x, y = (np.append(0, np.cumsum(kind[order])[end] / kind.sum()) for kind in (~same, same))
    ax.plot(x, y, color="#222222", linewidth=1.6)
    ax.plot([0, 1], [1, 0], color="#999999", linewidth=1, linestyle=(0, (3, 3)))
    ax.plot([far, far, 0], [0, tar, tar], color="#999999", linewidth=0.9)
    ax.plot(far, tar, "o", color="#222222", markersize=9)
    ax.set(xlabel="FAR", ylabel="TAR", xlim=(-0.02, 1), ylim=(0, 1.02), aspect="equal")


def pair(scores: Any, same: Any, threshold: float) -> Figure:
    """One frame of the animation: the threshold between the two histograms, and where it lies on the ROC."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.5), layout="none", gridspec_kw={"width_ratios": [1.5, 1]})
    far, tar = histograms(left, scores, same, threshold)
    left.legend(loc="upper left")
    roc_with_dot(right, scores, same, far, tar)
    title = f"threshold {threshold:+.2f}   FAR {far:6.1%}   TAR {tar:6.1%}   FRR {1 - tar:6.1%}"
    fig.suptitle(title, fontsize=11, family="DejaVu Sans Mono")
    fig.subplots_adjust(0.03, 0.15, 0.985, 0.88, wspace=0.16)
    return fig


def sheet(scores: Any, same: Any, thresholds: Iterable[float]) -> Figure:
    """Still frames of the animation: a column for each threshold, histograms above, ROC below."""
    steps = list(thresholds)
    fig, axes = plt.subplots(2, len(steps), figsize=(2.9 * len(steps), 5.6), layout="none", squeeze=False)
    for above, below, threshold in zip(*axes, steps, strict=True):
        far, tar = histograms(above, scores, same, threshold, bins=36)
        roc_with_dot(below, scores, same, far, tar)
        above.set_title(f"threshold {threshold:.2f}\nFAR {far:.1%}   FRR {1 - tar:.1%}", fontsize=10)
        below.set_title(f"TAR {tar:.1%}", fontsize=10)
    axes[0, 0].legend(loc="upper left", fontsize=8, handlelength=1)
    fig.subplots_adjust(0.055, 0.085, 0.985, 0.91, wspace=0.22, hspace=0.42)
    return fig
