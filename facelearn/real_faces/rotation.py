"""The protocol: everything is fitted on the people of four of LFW's sets and measured on those of the fifth, in turn.

Sets and folds are LFW's own (view 2), whose people are disjoint. In rotation k nothing that belongs to people of set k
is touched before the end: no image in training, no row in PCA, joint Bayesian or the scaling of scores, no pair in the
choice of a threshold. View 1 (`pairsDevTrain.txt`, `pairsDevTest.txt`) mixes people of all sets and is not used.

A system is a function of a rotation that returns scores, higher for one person, of all pairs of the list and of all
pairs of the images of set k (at most 10 of each person). `measure` turns the scores of five rotations into numbers.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facelearn.data.files import data_root, open_image, read_files, resize, to_tensor
from facelearn.data.lfw import LFWPairs, LFWPeople
from facelearn.real_faces.descriptors import WhitenedPCA, unit_rows
from facelearn.real_faces.joint_bayesian import JointBayesian
from facelearn.real_faces.recipe import face_views
from facelearn.verification import VerificationResult, all_pairs, evaluate_scores

Array = NDArray[Any]
MOST_IMAGES = 10  # of a person among "all pairs": one has 236


@dataclass(frozen=True)
class Scores:
    """Of one system in one rotation. Those of several systems are added: they vote together."""

    listed: Array  # (P,) of every pair of the list: threshold and scaling come from those of other folds
    every: Array  # (Q,) of all pairs of the tested people

    def __add__(self, other: Scores) -> Scores:
        return Scores(self.listed + other.listed, self.every + other.every)


@dataclass(frozen=True)
class Faces:
    """Aligned images of people who are in sets, and a list of pairs within the sets."""

    names: list[str]
    images: Tensor  # (N, 3, 112, 112) uint8
    labels: Array  # (N,) number of each image's person in `names`
    sets: Array  # (N,) set of that person
    pairs: Array  # (P, 2) numbers of images
    same: Array  # (P,) bool
    folds: Array  # (P,) set of both people

    @cached_property
    def views(self) -> Tensor:
        """What nets see of the images."""
        return face_views(self.images)

    @cached_property
    def rotations(self) -> list[Rotation]:
        return [Rotation(self, int(k)) for k in np.unique(self.folds)]


@dataclass(frozen=True)
class Rotation:
    """Number `held_out` of the rotations: which images and pairs are for fitting, which for the test."""

    faces: Faces
    held_out: int

    @cached_property
    def fitting(self) -> Array:
        """Numbers of all images of the other sets."""
        return np.flatnonzero(self.faces.sets != self.held_out)

    @cached_property
    def training(self) -> tuple[Array, Tensor]:
        """Images to train nets on, of people with two or more, and their labels 0 ... C - 1.

        A net can do little with the 70 % of people who have one image, and pair losses are spoilt by them.
        """
        labels = self.faces.labels
        chosen = self.fitting[np.bincount(labels)[labels[self.fitting]] >= 2]
        return chosen, torch.from_numpy(np.unique(labels[chosen], return_inverse=True)[1])

    @cached_property
    def tested(self) -> Array:
        """(P,) bool: the pairs of the held-out fold."""
        return self.faces.folds == self.held_out

    @cached_property
    def gallery(self) -> Array:
        """Numbers of the images of the held-out set, at most 10 of a person."""
        images = np.flatnonzero(self.faces.sets == self.held_out)
        labels = self.faces.labels[images]
        return np.concatenate([images[labels == person][:MOST_IMAGES] for person in np.unique(labels)])

    @cached_property
    def every(self) -> tuple[Array, Array]:
        """All pairs of the gallery (numbers within it), and whether they show one person."""
        return all_pairs(self.faces.labels[self.gallery])

    def reduced(self, rows: Array, dimensions: int) -> Array:
        """All rows after whitened PCA, which is fitted on the images of the other sets; float32."""
        return WhitenedPCA(dimensions).fit(rows[self.fitting])(rows).astype(np.float32)

    def cosine(self, rows: Array) -> Scores:
        """Cosines of rows (N, d) of all images, scaled as those of joint Bayesian are."""
        rows = unit_rows(np.asarray(rows, np.float64))
        first, second = self.faces.pairs.T
        return self._scaled(np.einsum("pd,pd->p", rows[first], rows[second]), self._above(rows[self.gallery]))

    def joint_bayesian(self, rows: Array) -> Scores:
        """Joint Bayesian, fitted on all images of the other sets, on rows (N, d) brought to length 1.

        The scores are divided by their standard deviation over the listed pairs of the other sets, so that those of
        several systems can be added with equal weights. The sum of scores is the score of the fused system.
        """
        rows = unit_rows(np.asarray(rows, np.float64))
        model = JointBayesian().fit(rows[self.fitting], self.faces.labels[self.fitting])
        listed = model.score(rows, self.faces.pairs)
        return self._scaled(listed, self._above(*model.parts(rows[self.gallery])))

    def _scaled(self, listed: Array, every: Array) -> Scores:
        scale = listed[~self.tested].std()
        return Scores(listed / scale, every / scale)

    def _above(self, a: Array, b: Array | None = None, c: Array | float = 0.0) -> Array:
        """(Q,) the entries above the diagonal of a bᵀ + c + cᵀ, in the order of `all_pairs`."""
        scores = a @ (a if b is None else b).T + np.add.outer(c, c)
        return scores[np.triu_indices(len(a), 1)]


class Measured(NamedTuple):
    """What one system reached in K rotations; rates between 0 and 1."""

    result: VerificationResult  # of the listed pairs, each scored while its fold was held out
    correct: Array  # (P,) bool: whether each was decided rightly
    accuracy: Array  # (K,) its mean over each fold
    accuracy_seen: Array  # (K,) with another threshold, see `measure`
    eer: Array  # (K,)
    every_eer: Array  # (K,) of all pairs of the held-out people
    every_tar2: Array  # (K,) TAR at FAR 1 %
    every_tar3: Array  # (K,) TAR at FAR 0.1 %


def measure(faces: Faces, scores: list[Scores]) -> Measured:
    """Numbers from the scores of each rotation.

    Both accuracies take a fold's threshold from the pairs of the other four. For `accuracy` these are scored as the
    tested ones are: each in the rotation in which its people were held out. For `accuracy_seen` they are scored by the
    very system that is tested, which was fitted on their people and finds them easier than it finds strangers, so that
    the threshold comes out too high.
    """
    rotations = faces.rotations
    held_out = np.select([r.tested for r in rotations], [s.listed for s in scores])  # (P,)
    result = evaluate_scores(held_out, faces.pairs, faces.same, identities=faces.labels, folds=faces.folds)
    thresholds = result.fold_thresholds[np.searchsorted(np.unique(faces.folds), faces.folds)]  # (P,)
    seen, eer, every = [], [], []
    for rotation, score in zip(rotations, scores, strict=True):
        test, rest = rotation.tested, ~rotation.tested
        accepted = score.listed[test] >= best_threshold(score.listed[rest], faces.same[rest])
        seen.append((accepted == faces.same[test]).mean())
        eer.append(evaluate_scores(score.listed[test], faces.pairs[test], faces.same[test]).eer)
        steady = evaluate_scores(score.every, *rotation.every)
        every.append((steady.eer, tar(steady, 1e-2), tar(steady, 1e-3)))
    correct = (held_out >= thresholds) == faces.same
    return Measured(result, correct, result.fold_accuracies, np.array(seen), np.array(eer), *np.array(every).T)


def tar(result: VerificationResult, far: float) -> float:
    """TAR at that FAR, NaN where fewer than ten false accepts would decide."""
    return result.tar_at(far) if far * result.num_impostor >= 10 else math.nan


def best_threshold(scores: Array, same: Array) -> float:
    """The threshold with most right decisions, in the middle of its gap; accept where score >= threshold."""
    order = np.argsort(-scores)
    gained = np.append(0, np.cumsum(np.where(same[order], 1, -1)))
    bounds = np.concatenate([[math.inf], scores[order], [-math.inf]])
    distinct = bounds[:-1] > bounds[1:]  # a threshold cannot part equal scores
    best = int(np.argmax(np.where(distinct, gained, -len(scores))))
    if best == 0:
        return math.inf
    return float((bounds[best] + bounds[best + 1]) / 2)


def load(folder: str | os.PathLike[str] | None = None) -> Faces:
    """LFW from `folder`, by default `$FACELEARN_DATA/lfw`.

    It holds one list of people (`people*.txt`), one of pairs (`pairs*.txt`; view 1's `pairsDev*.txt` are passed over),
    and the aligned images, a folder or archive with `aligned112` in its name. ValueError where one is missing, or
    where the people of a pair are not in the set of its fold.
    """
    folder = data_folder("lfw") if folder is None else Path(folder)
    people = LFWPeople(_only(folder, "people*.txt"), _only(folder, "*aligned112*"))
    listed = LFWPairs(_only(folder, "pairs*.txt"), people)
    pairs, folds = listed.pairs.numpy(), listed.folds.numpy()
    sets = people.sets.numpy()
    wrong = int((sets[pairs] != folds[:, None]).any(1).sum())
    if wrong:
        raise ValueError(f"{folder}: found {wrong} pairs of people who are not in the set of their fold, expected none")
    return Faces(people.names, people.images, people.labels.numpy(), sets, pairs, listed.same.numpy(), folds)


def load_orl(source: str | os.PathLike[str] | None = None) -> Tensor | None:
    """ORL's 400 images as faces (400, 3, 112, 112), ten of each of 40 people in turn; None where there are none.

    source: a folder or .tar with `s1/1.pgm` ... `s40/10.pgm`, by default what is in `$FACELEARN_DATA/orl`. Of the 112
    rows of 92 pixels, rows 10 to 101 are kept and resized: there the mean face lies best on that of aligned LFW.
    """
    if source is None:
        root = data_root()
        found = sorted((root / "orl").glob("orl_faces*")) if root else []
        if not found:
            return None
        source = found[0]
    images = {}
    for file in read_files(source, lambda path: path.endswith(".pgm")):
        person, shot = Path(file.path).parts[-2:]
        face = open_image(file.data, file.where).crop((0, 10, 92, 102))
        images[int(person[1:]), int(shot[:-4])] = to_tensor(resize(face, 112))
    if len(images) != 400:
        raise ValueError(f"{source}: found {len(images)} images s*/*.pgm, expected 400")
    return torch.stack([images[key] for key in sorted(images)])


def data_folder(name: str) -> Path:
    """`$FACELEARN_DATA/name`. ValueError where the variable is not set, or the folder is not there."""
    root = data_root()
    if root is None or not (root / name).is_dir():
        found = "not set" if root is None else f"no {name} in {root}"
        raise ValueError(f"FACELEARN_DATA: {found}; expected a folder with {name}/ in it")
    return root / name


def _only(folder: Path, pattern: str) -> Path:
    found = [path for path in sorted(folder.glob(pattern)) if not path.name.startswith(("pairsDev", "peopleDev"))]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{folder}: found {names}; expected one {pattern}")
    return found[0]
