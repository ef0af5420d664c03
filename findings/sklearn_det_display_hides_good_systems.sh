#!/usr/bin/env bash
# scikit-learn 1.9.1: the axes of `DetCurveDisplay` end at error rates of 0.135 %, so that the curve of a good system lies
# outside of its own picture, without a word.
#
# Seen: genuine and impostor scores 7 standard deviations apart, 2,000 and 100,000 pairs (error rates of .1 % and less:
# what face verification reports). The display draws its points where they belong on axes of normal deviates, and then
# sets both axes to -3 ... 3, that is .00135 ... .99865: of the points none is visible, the picture is empty. At 5
# standard deviations the crossing is seen, all false accept rates below 1e-3 are not. `plot` has no argument for it;
# `ax.set_xlim` afterwards cures it. Expected: limits that hold the curve, as `RocCurveDisplay` has.
# Why it matters: operating points of face recognition (FAR 1e-3 and below) are left out by default, and the better of
# two systems may be the one that is not in the figure.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1 matplotlib==3.11.2 numpy==2.4.6
cd "$folder"
MPLBACKEND=agg "$folder/venv/bin/python" - <<'END'
import matplotlib
import numpy as np
import sklearn
from scipy.stats import norm
from sklearn.metrics import DetCurveDisplay

print("scikit-learn", sklearn.__version__, "matplotlib", matplotlib.__version__)
draw = np.random.default_rng(0)
noise, labels = draw.normal(size=102_000), np.repeat([0, 1], [100_000, 2_000])
for apart in (5, 7):
    shown = DetCurveDisplay.from_predictions(labels, noise + apart * labels)
    x, y = shown.line_.get_data()
    (left, right), (low, high) = shown.ax_.get_xlim(), shown.ax_.get_ylim()
    inside = (left <= x) & (x <= right) & (low <= y) & (y <= high)
    ticks = [label.get_text() for label in shown.ax_.get_xticklabels()]
    print(f"{apart} apart: {len(x)} points, {inside.sum()} inside the axes, which begin at {norm.cdf(left):.5f}; ticks {ticks}")
    hidden = (shown.fpr < 1e-3) & (shown.fpr > 1e-12)
    assert left == low == -3 and hidden.any() and not inside[hidden].any()
    assert inside.any() == (apart == 5)
END
echo "as seen"
