"""Who is used for what in a rotation, thresholds against trying them all, and numbers against loops."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from facelearn.real_faces.rotation import Faces, Rotation, Scores, best_threshold, load, measure
from tests.real_faces.drawn import write_lfw


def made_up(seed: int = 0, sets: int = 3, people: int = 16) -> Faces:
    """Sets of people with 1, 2, 3 or 12 images (blank ones), five pairs of each kind and set."""
    rng = np.random.default_rng(seed)
    counts = rng.choice([1, 2, 3, 12], sets * people)
    counts[::people] = 12
    counts[1::people] = 3
    labels = np.repeat(np.arange(sets * people), counts)
    of_set, pairs = labels // people, []
    for k in range(sets):
        images = np.flatnonzero(of_set == k)
        found: dict[bool, list[list[int]]] = {True: [], False: []}
        while min(map(len, found.values())) < 5:
            pair = rng.choice(images, 2, replace=False)
            found[bool(labels[pair[0]] == labels[pair[1]])].append(sorted(pair.tolist()))
        pairs += found[True][:5] + found[False][:5]
    index = np.array(pairs)
    names = [f"P{k}" for k in range(sets * people)]
    blank = torch.zeros(len(labels), 3, 1, 1, dtype=torch.uint8)
    return Faces(names, blank, labels, of_set, index, labels[index[:, 0]] == labels[index[:, 1]], of_set[index[:, 0]])


def rows_of(faces: Faces, spread: float = 1.0, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(faces.names), 6))
    return centres[faces.labels] + spread * rng.normal(size=(len(faces.labels), 6))


def test_held_out_people_are_nowhere_in_the_fitting_part() -> None:
    faces = made_up()
    for rotation in faces.rotations:
        own = set(np.flatnonzero(faces.sets == rotation.held_out).tolist())
        training, labels = rotation.training
        assert not own & set(rotation.fitting.tolist())
        assert set(training.tolist()) <= set(rotation.fitting.tolist())
        assert set(rotation.gallery.tolist()) <= own
        assert set(faces.pairs[rotation.tested].ravel().tolist()) <= own
        assert len(rotation.fitting) + len(own) == len(faces.labels)
        assert np.bincount(labels).min() >= 2
        assert np.bincount(faces.labels[rotation.gallery]).max() == 10
        assert len(labels.unique()) == labels.max() + 1 == len(np.unique(faces.labels[training]))


def test_nothing_of_the_held_out_people_reaches_what_is_fitted() -> None:
    """Other rows of theirs leave the scores of all other pairs as they were: PCA, joint Bayesian and scale."""
    faces = made_up()
    rotation = faces.rotations[1]
    rows = rows_of(faces)
    changed = np.where((faces.sets == 1)[:, None], 100 + rows[::-1], rows)
    for fit in (lambda x: rotation.joint_bayesian(x), lambda x: rotation.joint_bayesian(rotation.reduced(x, 4))):
        before, after = fit(rows), fit(changed)
        np.testing.assert_array_equal(before.listed[~rotation.tested], after.listed[~rotation.tested])
        assert not np.allclose(before.listed[rotation.tested], after.listed[rotation.tested])


def test_scores_of_the_list_and_of_all_pairs_agree() -> None:
    faces = made_up()
    rotation = faces.rotations[2]
    rows = rows_of(faces)
    pairs, same = rotation.every
    place = {tuple(rotation.gallery[pair]): i for i, pair in enumerate(pairs)}
    for scores in (rotation.cosine(rows), rotation.joint_bayesian(rows)):
        for number in np.flatnonzero(rotation.tested):
            i = place.get(tuple(faces.pairs[number]))
            if i is not None:
                assert scores.every[i] == pytest.approx(scores.listed[number], abs=1e-9)
                assert same[i] == faces.same[number]


def test_scores_have_spread_one_on_other_folds() -> None:
    rotation = made_up().rotations[0]
    for score in (rotation.joint_bayesian, rotation.cosine):
        assert score(rows_of(rotation.faces)).listed[~rotation.tested].std() == pytest.approx(1)


@pytest.mark.parametrize("levels", [3, 1000])
def test_best_threshold_beats_all_others(levels: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(levels, size=30) / levels
        same = rng.random(30) < 0.3 + 0.4 * scores
        best = max(((scores >= t) == same).mean() for t in [*scores, np.inf])
        assert ((scores >= best_threshold(scores, same)) == same).mean() == best


def test_measures_are_those_of_loops() -> None:
    faces = made_up(3)
    systems = [r.cosine(rows_of(faces, 1.5)) for r in faces.rotations]
    found = measure(faces, systems)
    for k, rotation in enumerate(faces.rotations):
        test, rest = rotation.tested, ~rotation.tested
        held_out = np.concatenate([s.listed[r.tested] for s, r in zip(systems, faces.rotations, strict=True)])
        candidates = [((held_out[rest] >= t) == faces.same[rest]).mean() for t in np.sort(held_out)]
        threshold = found.result.fold_thresholds[k]
        assert ((held_out[rest] >= threshold) == faces.same[rest]).mean() == max(candidates)
        expected = ((held_out[test] >= threshold) == faces.same[test]).mean()
        assert found.accuracy[k] == pytest.approx(expected)
        assert found.correct[test].mean() == pytest.approx(expected)
        _, same = rotation.every
        genuine, impostor = systems[k].every[same], systems[k].every[~same]
        lowest = np.sort(impostor)[::-1][int(0.01 * len(impostor))]
        assert found.every_tar2[k] == pytest.approx((genuine > lowest).mean())
        assert np.isnan(found.every_tar3[k]) == (len(impostor) < 10_000)


def test_fused_scores_are_sums() -> None:
    a, b = Scores(np.arange(3.0), np.ones(2)), Scores(np.ones(3), np.arange(2.0))
    assert (a + b).listed.tolist() == [1, 2, 3]
    assert (a + b).every.tolist() == [1, 2]


def test_load_reads_lists_and_images(tmp_path: Path) -> None:
    faces = load(write_lfw(tmp_path))
    assert faces.images.shape == (72, 3, 112, 112)
    assert np.bincount(faces.sets).tolist() == [24, 24, 24]
    assert np.bincount(faces.folds).tolist() == [16, 16, 16]
    first, second = faces.labels[faces.pairs].T
    assert ((first == second) == faces.same).all()


def test_load_refuses_pairs_outside_their_set_and_missing_files(tmp_path: Path) -> None:
    folder = write_lfw(tmp_path)
    lines = (folder / "pairs.txt").read_text().split("\n")
    lines[1], lines[17] = lines[17], lines[1]  # a pair of the second fold's people in the first
    (folder / "pairs.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="2 pairs of people who are not in the set"):
        load(folder)
    (folder / "people.txt").unlink()
    with pytest.raises(ValueError, match="found none; expected one people"):
        load(folder)


def test_load_says_which_variable_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACELEARN_DATA", raising=False)
    with pytest.raises(ValueError, match="FACELEARN_DATA: not set"):
        load()


def test_training_people_have_two_images() -> None:
    faces = made_up()
    single = np.flatnonzero(np.bincount(faces.labels) == 1)
    rotation = Rotation(dataclasses.replace(faces), 0)
    assert len(single)
    assert not np.isin(faces.labels[rotation.training[0]], single).any()
