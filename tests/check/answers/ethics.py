"""Chapter 02: right answers, each by another way than the check's own reference, and wrong ones."""

import warnings

import numpy as np

# ---- right answers --------------------------------------------------------------------------------------------------


def by_solving(far_a, frr_a, frr_b, share_a, share_b):
    """The probability in A, then the equation for FAR of B solved by bisection."""
    wanted = share_a * (1 - frr_a) / (share_a * (1 - frr_a) + (1 - share_a) * far_a)
    low, high = 0.0, 1e6
    for _ in range(200):
        far = (low + high) / 2
        got = share_b * (1 - frr_b) / (share_b * (1 - frr_b) + (1 - share_b) * far)
        low, high = (far, high) if got > wanted else (low, far)
    return low


def in_one_line(far_a, frr_a, frr_b, share_a, share_b):
    return far_a * (1 - frr_b) / (1 - frr_a) * (share_b / (1 - share_b)) / (share_a / (1 - share_a))


def with_the_library(scores, same, people, group, far):
    from facelearn.verification import evaluate_scores

    letters = group[people]
    found = []
    for kind in np.unique(group):
        own = (letters == kind).all(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few pairs: true, and no matter here
            found.append(evaluate_scores(scores[own], same[own]).threshold_at(far))
    tau = max(found)
    frr = [np.mean(scores[(letters == kind).all(1) & same] < tau) for kind in np.unique(group)]
    return tau, np.array(frr)


def score_by_score(scores, same, people, group, far):
    """Walks up the impostor scores until every group keeps its promise."""
    first, second = group[people].T
    for limit in np.unique(scores[(first == second) & ~same]):
        rates = [np.mean(scores[(first == k) & (second == k) & ~same] > limit) for k in np.unique(group)]
        if max(rates) <= far:
            own = [(first == k) & (second == k) & same for k in np.unique(group)]
            return float(limit), np.array([np.mean(scores[mine] <= limit) for mine in own])
    return None


def group_by_group(report):
    faults, groups = set(), list(report["groups"].values())
    for group in groups:
        if report["claims"]["one threshold"] and group["threshold"] != groups[0]["threshold"]:
            faults.add("threshold")
        if group["from"] != "same group":
            faults.add("impostors")
        k, pairs = group["accepted"], group["impostor"]
        limit = 3 / pairs if k == 0 else (k + 2 * np.sqrt(k)) / pairs
        if limit > report["claims"]["far at most"]:
            faults.add("far")
    return faults


# ---- planted wrong answers, and the word by which each is named ------------------------------------------------------


def probabilities_of_far(far_a, frr_a, frr_b, share_a, share_b):
    """Equates the share of impostors among all comparisons, and forgets who passes."""
    return (1 - share_a) * far_a / (1 - share_b)


def pooled(scores, same, people, group, far):
    letters = group[people]
    within = letters[:, 0] == letters[:, 1]
    impostor = np.sort(scores[within & ~same])[::-1]
    limit = impostor[int(far * len(impostor) + 1e-9)]
    own = [(letters == kind).all(1) & same for kind in np.unique(group)]
    return limit, np.array([np.mean(scores[mine] <= limit) for mine in own])


def only_one_frr(scores, same, people, group, far):
    limit, frr = score_by_score(scores, same, people, group, far)
    return limit, float(frr.mean())


def by_quantiles(scores, same, people, group, far):
    own = [(group[people] == kind).all(1) for kind in np.unique(group)]
    limit = max(np.quantile(scores[mine & ~same], 1 - far) for mine in own)
    return limit, np.array([np.mean(scores[mine & same] <= limit) for mine in own])


def leaving_out_ties(scores, same, people, group, far):
    limit, _ = score_by_score(scores, same, people, group, far)
    own = [(group[people] == kind).all(1) & same for kind in np.unique(group)]
    return limit, np.array([np.mean(scores[mine] < limit) for mine in own])


def last_group(scores, same, people, group, far):
    """The threshold of the group with the largest number."""
    mine = (group[people] == group.max()).all(1)
    limit = min(t for t in scores[mine & ~same] if np.mean(scores[mine & ~same] > t) <= far)
    own = [(group[people] == kind).all(1) & same for kind in np.unique(group)]
    return limit, np.array([np.mean(scores[pair] <= limit) for pair in own])


def numbers_from_zero(scores, same, people, group, far):
    """Takes a group's number for its place."""
    group = np.arange(len(group)) % len(np.unique(group))
    return score_by_score(scores, same, people, group, far)


def by_counting_down(scores, same, people, group, far):
    """int() of a product that falls just short of a whole number."""
    limits = []
    for kind in np.unique(group):
        own = np.sort(scores[(group[people] == kind).all(1) & ~same])[::-1]
        limits.append(own[int(far * len(own))])
    pairs_of = [(group[people] == kind).all(1) & same for kind in np.unique(group)]
    return max(limits), np.array([np.mean(scores[mine] <= max(limits)) for mine in pairs_of])


def two_groups(scores, same, people, group, far):
    """Knows of the first two groups alone."""
    found = []
    for kind in np.unique(group)[:2]:
        mine = (group[people] == kind).all(1)
        found.append(min(t for t in scores[mine & ~same] if np.mean(scores[mine & ~same] > t) <= far))
    limit = max(found)
    own = [(group[people] == kind).all(1) & same for kind in np.unique(group)]
    return limit, np.array([np.mean(scores[mine] <= limit) for mine in own])


def changing(report):
    found = sorted(group_by_group(report))
    report["claims"].pop("far at most")
    return found


def seen_rates(report):
    """Takes what was seen for what is true."""
    faults = group_by_group(report) - {"far"}
    limit = report["claims"]["far at most"]
    if any(g["accepted"] / g["impostor"] > limit for g in report["groups"].values()):
        faults.add("far")
    return faults


def added_up(report):
    faults = group_by_group(report) - {"far"}
    k, pairs = (sum(g[what] for g in report["groups"].values()) for what in ("accepted", "impostor"))
    if (k + 2 * np.sqrt(k) if k else 3) / pairs > report["claims"]["far at most"]:
        faults.add("far")
    return faults


def claims_one_in_ten_thousand(report):
    return group_by_group({**report, "claims": {**report["claims"], "far at most": 1e-4}})


def agreeing_places(report):
    """Calls it sound where all groups take their impostors from the same wrong place."""
    faults = group_by_group(report) - {"impostors"}
    return faults | ({"impostors"} if len({g["from"] for g in report["groups"].values()}) > 1 else set())


def always_one_threshold(report):
    faults = group_by_group(report)
    if len({g["threshold"] for g in report["groups"].values()}) > 1:
        faults.add("threshold")
    return faults


RIGHT = {
    "ex1": [by_solving, in_one_line],
    "ex2": [with_the_library, score_by_score],
    "ex3": [
        group_by_group,
        lambda report: sorted(group_by_group(report)),
        lambda report: tuple(group_by_group(report)),
    ],
}
WRONG = {
    "ex1": [
        (lambda a, p, q, s, t: a, "same FAR in both"),
        (lambda a, p, q, s, t: in_one_line(a, 0, 0, s, t), "FRRs have no effect"),
        (lambda a, p, q, s, t: in_one_line(a, 1 - p, 1 - q, s, t), "taken for TAR"),
        (lambda a, p, q, s, t: a * (1 - q) / (1 - p) * t / s, "not odds"),
        (lambda a, p, q, s, t: in_one_line(a, p, q, t, s), "swapped"),
        (probabilities_of_far, "got"),
        (lambda a, p, q, s, t: 1 / in_one_line(a, p, q, s, t), "got"),
    ],
    "ex2": [
        (pooled, "together is kept; the worse group"),
        (only_one_frr, "output 2"),
        (two_groups, "2, 4 and 9"),
        (last_group, "3, 5 and 7"),
        (numbers_from_zero, "got"),
        (by_counting_down, "far = 0.29"),
        (lambda *inputs: score_by_score(*inputs)[0], "expected"),
        (by_quantiles, "between two scores"),
        (leaving_out_ties, "at the threshold does not pass"),
    ],
    "ex3": [
        (lambda report: [], "'threshold' is not reported"),
        (lambda report: ["threshold", "impostors", "far"], "wrongly"),
        (lambda report: "far", "list of names"),
        (lambda report: ["FAR"], "none of the three names"),
        (lambda report: not group_by_group(report), "list of names"),
        (changing, "changes the report"),
        (seen_rates, "no false accept in 2,000"),
        (added_up, "is not reported"),
        (always_one_threshold, "the report says so"),
        (claims_one_in_ten_thousand, "1e-3 claimed"),
        (agreeing_places, "all impostors come from both groups"),
    ],
}
