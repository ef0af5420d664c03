#!/usr/bin/env bash
# pyannote.metrics 4.2.0: `binary_classification.det_curve` says that a perfect system has an equal error rate of 25 %.
#
# Seen: genuine scores between .8 and .9, impostor scores between .1 and .2, five or a thousand of each: eer = 0.25.
# With one of the thousand impostors in the middle of the genuine scores it is .1255, by hand .001. The rate is the mean
# of four numbers, FPR and FNR on both sides of the crossing, on scikit-learn's `roc_curve`, which leaves out points on
# straight lines: for perfect scores (0, 0), (0, 1), (1, 1) remain, and the mean of 0, 1, 0, 0 is a quarter. Where
# thousands of scores overlap the two agree. Expected: 0, .001, and the same rule for good systems as for bad ones.
# Beside it: `precision_recall_curve` of the same module raises a TypeError on any scores, since it passes on an argument
# that scikit-learn has given up.
# Why it matters: a test on a small clean set, the first thing one runs, reports 25 %; and the order of two systems can
# be turned round, since the one that makes hardly a mistake is charged the most.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyannote.metrics==4.2.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END_OF_PYTHON'
from importlib.metadata import version

import numpy as np
from pyannote.metrics.binary_classification import det_curve, precision_recall_curve

print("pyannote.metrics", version("pyannote.metrics"), "scikit-learn", version("scikit-learn"))


def both(genuine, impostor):
    """pyannote's rate, and by hand: both error rates at every threshold, straight lines between."""
    truth = np.repeat([True, False], [len(genuine), len(impostor)])
    theirs = det_curve(truth, np.concatenate([genuine, impostor]))[3]
    thresholds = np.append(np.unique(np.concatenate([genuine, impostor])), np.inf)
    far = np.array([(impostor >= threshold).mean() for threshold in thresholds])
    frr = np.array([(genuine < threshold).mean() for threshold in thresholds])
    after = int(np.argmax(frr >= far))
    gap, next_gap = far[after - 1] - frr[after - 1], frr[after] - far[after]
    return theirs, frr[after - 1] + (frr[after] - frr[after - 1]) * gap / (gap + next_gap)


for size in (5, 1000):
    theirs, by_hand = both(np.linspace(0.8, 0.9, size), np.linspace(0.1, 0.2, size))
    print(f"perfect, {size} of each: pyannote {theirs:.4f}, by hand {by_hand:.4f}")
    assert theirs == 0.25 and by_hand == 0
impostor = np.linspace(0.1, 0.2, 1000)
impostor[0] = 0.85  # above half of the genuine scores
theirs, by_hand = both(np.linspace(0.8, 0.9, 1000), impostor)
print(f"one impostor among the genuine: pyannote {theirs:.4f}, by hand {by_hand:.4f}")
assert theirs > 0.1 and by_hand < 0.002
draw = np.random.default_rng(0)
theirs, by_hand = both(draw.normal(2, 1, 3000), draw.normal(0, 1, 3000))
print(f"two normal distributions, 2 sd apart: pyannote {theirs:.4f}, by hand {by_hand:.4f}")
assert abs(theirs - by_hand) < 0.002
try:
    precision_recall_curve(np.array([True, False]), np.array([0.9, 0.1]))
except TypeError as error:
    print("precision_recall_curve:", error)
else:
    raise SystemExit("precision_recall_curve no longer raises")
END_OF_PYTHON
echo "as seen"
