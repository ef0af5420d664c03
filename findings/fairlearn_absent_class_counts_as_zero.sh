#!/usr/bin/env bash
# fairlearn 0.15.0: a group that has no pair of a kind gets a rate of 0 for it, without a warning, and so is the best
# group by one name of a rate and the worst by the other.
#
# Seen: verification decisions of three groups; group b has impostor pairs only, group c genuine pairs only. The rates
# that do not exist are 0 and not NaN: of b the true positive rate and the false negative rate are both 0 (where they
# exist they add up to 1), of c both the false positive and the true negative rate. `equalized_odds_difference` takes b's
# 0 for a true positive rate and says .90, though the groups that have genuine pairs are alike (.90 each);
# `MetricFrame.group_min()` of the false positive rate names c, which nobody ever tried to pass for, at 0.
# No warning comes, where scikit-learn's `recall_score` warns of the same group. Expected: NaN, which `MetricFrame` skips,
# or at least that warning.
# Why it matters: face verification is often listed in this way (impostors are paired within a group, small groups have
# one picture a person). The "gap between groups" is then a gap between lists of pairs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fairlearn==0.15.0 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import warnings
from importlib.metadata import version

import numpy as np
from fairlearn import metrics
from sklearn.metrics import recall_score

# Group, truth (1: genuine), how many pairs, how many of them are accepted.
listed = [("a", 0, 100, 8), ("a", 1, 20, 18), ("b", 0, 100, 8), ("c", 1, 20, 18)]
group = np.concatenate([[name] * pairs for name, _, pairs, _ in listed])
truth = np.concatenate([[kind] * pairs for _, kind, pairs, _ in listed])
accepted = np.concatenate([np.arange(pairs) < passed for _, _, pairs, passed in listed]).astype(int)

print("fairlearn", version("fairlearn"), "scikit-learn", version("scikit-learn"), "numpy", np.__version__)
rates = {
    "TPR": metrics.true_positive_rate,
    "FNR": metrics.false_negative_rate,
    "FPR": metrics.false_positive_rate,
    "TNR": metrics.true_negative_rate,
}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    frame = metrics.MetricFrame(metrics=rates, y_true=truth, y_pred=accepted, sensitive_features=group)
    gap = metrics.equalized_odds_difference(truth, accepted, sensitive_features=group)
print(frame.by_group.to_string())
print(f"equalized odds difference {gap:.2f}; warnings: {len(said)}; least FPR {frame.group_min()['FPR']:.2f}")
found = frame.by_group.T.to_dict()
assert np.isclose([found["a"]["TPR"], found["c"]["TPR"], found["a"]["FPR"], found["b"]["FPR"]], [0.9, 0.9, 0.08, 0.08]).all()
assert found["b"]["TPR"] == found["b"]["FNR"] == 0 and found["c"]["FPR"] == found["c"]["TNR"] == 0
assert np.isclose(gap, 0.9) and not said and frame.group_min()["FPR"] == 0
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    alone = recall_score(truth[group == "b"], accepted[group == "b"])
print("scikit-learn's recall of group b:", alone, "with", [warning.category.__name__ for warning in said])
assert [warning.category.__name__ for warning in said] == ["UndefinedMetricWarning"]
END
echo "as seen"
