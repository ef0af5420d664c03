"""Verification and identification: is this one person? Who is it? How well does an embedding answer, how sure are we?

A *pair* is genuine (one person) or impostor (two people). Its score is the cosine of the two embeddings, and a
threshold t accepts every pair with score >= t. Over the pairs

    FAR(t) = accepted impostor pairs / impostor pairs        false accept rate
    TAR(t) = accepted genuine pairs  / genuine pairs         true accept rate;  FRR = 1 - TAR

Pairs with one score cross a threshold together: a tie is one step of the ROC, which makes it a sloped segment. All
numbers here are exact under ties. Cosines are computed in float64 and rounded to 12 decimals, so that rounding
error (about 1e-16) makes no tie, for practical purposes, and hardly ever breaks one (two ways to add up one cosine
came out on two sides of a rounding about once in 50,000 random pairs).

Pairs are not independent: each person sits in many of them. Intervals therefore resample people, not pairs
(`VerificationResult.intervals` says how and why).

    >>> result = evaluate_pairs(embeddings, *all_pairs(labels), identities=labels)
    >>> result.eer, result.tar_at(1e-3), result.interval("eer")
    >>> apply_threshold(result, on_other_people, far=1e-3)  # what a deployed threshold does

All pairs of many images are counted without being listed, with the same numbers: `evaluate_all_pairs`.

    >>> evaluate_all_pairs(embeddings, labels).tar_at(1e-6)

Identification compares a *probe* with everybody in a *gallery*: `evaluate_identification` has its definitions.

    >>> found = evaluate_identification(gallery, gallery_labels, probes, probe_labels)
    >>> found.rank1, found.dir_at(0.01), found.interval("rank1")
"""

from facelearn.verification.bootstrap import Comparison, Interval, McNemar, compare, mcnemar
from facelearn.verification.identification import (
    IdentificationResult,
    OpenSetCurve,
    evaluate_identification,
    evaluate_identification_scores,
)
from facelearn.verification.pairs import NUM_FOLDS, all_pairs, fold_pairs, score_pairs
from facelearn.verification.result import (
    ROC,
    Rates,
    Transfer,
    VerificationResult,
    apply_threshold,
    evaluate_pairs,
    evaluate_scores,
)
from facelearn.verification.sweep import AllPairsResult, evaluate_all_pairs

__all__ = [
    "NUM_FOLDS",
    "ROC",
    "AllPairsResult",
    "Comparison",
    "IdentificationResult",
    "Interval",
    "McNemar",
    "OpenSetCurve",
    "Rates",
    "Transfer",
    "VerificationResult",
    "all_pairs",
    "apply_threshold",
    "compare",
    "evaluate_all_pairs",
    "evaluate_identification",
    "evaluate_identification_scores",
    "evaluate_pairs",
    "evaluate_scores",
    "fold_pairs",
    "mcnemar",
    "score_pairs",
]
