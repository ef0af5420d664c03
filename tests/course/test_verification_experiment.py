"""The experiment of chapter 01: what reads its table agrees with plain counting."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import verification as experiment

COURSE = Path(__file__).resolve().parents[2] / "course"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(COURSE / "results" / "01_verification.csv")


def test_the_stored_table_gives_the_choice_back_and_has_every_test_of_the_trainings(table):
    assert experiment.choose(table) == experiment.SETTINGS["chosen"]
    again = experiment.rows(table, "again")
    assert sorted(set(again["test"])) == experiment.SETTINGS["seeds"][: experiment.SETTINGS["again"]["tests"]]


def test_shares_are_those_that_counting_gives(table):
    lists, every = experiment.rows(table), experiment.rows(table, "all")
    a, b = (lists[f"accuracy_{name}"].to_numpy() for name in experiment.PAIR)
    behind = [bool(x < y) if a.mean() > b.mean() else bool(x > y) for x, y in zip(a, b, strict=True)]
    assert experiment.reversed_order(experiment.difference(lists)).tolist() == behind
    truth = every["eer"].mean()
    for by in ("people", "pairs"):
        inside = (every[f"low_{by}"] <= truth) & (truth <= every[f"high_{by}"])
        assert (experiment.missed(every, by) == ~inside).all()


def test_share_has_wilsons_interval():
    n, k, z = 50, 9, 1.959963984540054
    centre, half = k / n + z * z / (2 * n), z * np.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    found = experiment.share(pd.Series([True] * k + [False] * (n - k)))
    assert found.share == k / n
    np.testing.assert_allclose((found.low, found.high), np.array([centre - half, centre + half]) / (1 + z * z / n))


def test_a_list_shares_no_people_between_folds_and_a_smaller_one_keeps_its_size():
    rng = np.random.default_rng(0)
    import torch

    labels = torch.arange(60).repeat_interleave(10)
    x = torch.from_numpy(rng.normal(size=(600, 8)))
    found = experiment.examine(x, labels, 0, people=50, pairs=1500)
    people = labels.numpy()[found.pairs]
    assert len(found.same) == 1500
    assert found.num_genuine == 750
    assert people.max() < 50
    folds_of = [set(found.folds[(people == person).any(1)]) for person in range(50)]
    assert all(len(folds) <= 1 for folds in folds_of)


def test_nobody_is_in_two_of_the_sets():
    fits = experiment.standard("fit", identities=4)
    test = experiment.strangers("open", 1, 4, 0.6)
    assert not np.allclose(fits.traits["eye_dx"], test.traits["eye_dx"])
