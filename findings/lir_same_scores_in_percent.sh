#!/usr/bin/env bash
# lir 1.3.1: the same scores in percent have other likelihood ratios: `LogitCalibrator` pulls its slope towards 0, and
# for cosines almost all the way.
#
# Seen: 100 cosines of each kind to calibrate on, 20,000 of each to judge by. On cosines the slope is a sixth of that
# on the same numbers times 100. A cosine of .4, the mean of the genuine, is 4 times as likely from one person as from
# two, in percent 40,000 times. Calibration costs .26 of a Cllr of .41, or .01 of .17; Cllr_min is the same, .15. With
# 1,000 of each it still costs .06 instead of .005. The calibrator is scikit-learn's LogisticRegression with its usual
# penalty, half the square of the slope (C=1): for scores with a slope near 1 that is nothing, against the 30 that
# these cosines want it decides. `LogitCalibrator(C=inf)` gives the same for both. Expected: a likelihood ratio does
# not depend on the unit of the score; the docstring does not speak of a penalty.
# Why it matters: embeddings give cosines, and comparing faces and voices for a court is what the package is for. The
# ratios are far too close to 1 and look merely cautious; the gap between Cllr and Cllr_min is read as another domain.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lir==1.3.1 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
from importlib.metadata import version

import numpy as np
from lir.algorithms.logistic_regression import LogitCalibrator
from lir.data.models import LLRData
from lir.metrics import cllr, cllr_min

print("lir", version("lir"), "scikit-learn", version("scikit-learn"))


def draw(number, seed):
    """Cosines of genuine and of impostor pairs, and what they are."""
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(0.4, 0.15, number), generator.normal(0, 0.08, number)])
    return scores, np.repeat([1, 0], number)


test, test_kind = draw(20000, 1)
costs, ratios = {}, {}
for number in (100, 1000):
    scores, kind = draw(number, 0)
    for unit, factor in (("cosine", 1), ("percent", 100)):
        for penalty in (True, False):
            calibrator = LogitCalibrator(**({} if penalty else {"C": np.inf})).fit(scores * factor, kind)
            found = LLRData(features=calibrator.transform(test * factor).reshape(-1, 1), labels=test_kind)
            key = number, unit, penalty
            costs[key] = cllr(found) - cllr_min(found)
            ratios[key] = calibrator.transform(np.array([0.4]) * factor).item()
            slope = calibrator._logit.coef_.item() * factor
            said = f"{number:4} of each, {unit:7}, {'by default' if penalty else 'C=inf':10}: slope {slope:5.1f}, "
            said += f"log10 LR of a cosine of .4 {ratios[key]:.2f}, "
            print(said + f"Cllr {cllr(found):.4f}, Cllr_min {cllr_min(found):.4f}")

assert ratios[100, "cosine", True] < 0.7 and ratios[100, "percent", True] > 4
assert costs[100, "cosine", True] > 0.2 and costs[1000, "cosine", True] > 0.05
assert costs[100, "percent", True] < 0.02 and costs[1000, "percent", True] < 0.01
assert all(abs(ratios[number, "cosine", False] / ratios[number, "percent", False] - 1) < 0.02 for number in (100, 1000))
END
echo "as seen"
