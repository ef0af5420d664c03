"""The systems that a net takes part in: every line of the table, in one rotation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

from numpy.typing import NDArray

from facelearn.real_faces.rotation import Rotation, Scores

Array = NDArray[Any]
FUSED = ("lbp", "wide lbp", "daisy")  # the descriptors that say most, and different things
CLASSICAL = (("hog", "lbp"), ("pixels", "hog", "lbp"), FUSED)  # those that are added without a net


def net_systems(
    rotation: Rotation, embeddings: Array, features: Array, described: Mapping[str, Scores]
) -> Iterator[tuple[str, Scores]]:
    """Names and scores of the net alone and added to descriptors.

    embeddings (N, 128) and features (N, d) after PCA, of all images; described: what joint Bayesian makes of `FUSED`.
    The whole net is the cosine of its embeddings and joint Bayesian on its features, added. Nothing is weighed: every
    part has standard deviation one on the pairs of the fitting folds.
    """
    cosine = rotation.cosine(embeddings)
    by_features = rotation.joint_bayesian(features)
    whole = cosine + by_features
    yield "net", cosine
    yield "net + JB", rotation.joint_bayesian(embeddings)
    yield "features + JB", by_features
    yield "whole net", whole
    yield "whole net + lbp", whole + described["lbp"]
    yield f"whole net + {named(FUSED)}", reduce(add, (described[name] for name in FUSED), whole)


def named(descriptors: Sequence[str]) -> str:
    """The name of the system that adds them."""
    return " + ".join(descriptors)
