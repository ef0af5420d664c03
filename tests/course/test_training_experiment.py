"""What is particular to chapter 19: its design, its arms, and a verdict that can come out False."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from experiments import training as experiment

from facelearn import lesson
from facelearn.losses import ArcFace, SubCenterArcFace


def test_the_design_has_resolution_four():
    design = experiment.design()
    assert design.shape == (16, 8)
    assert (design.T @ design == 16 * np.eye(8)).all()
    for i, j in itertools.combinations(range(8), 2):
        assert not ((design[:, i] * design[:, j]) @ design).any(), "a step is aliased with a pair"
    assert (design[-1] == 1).all()
    assert (design[0] == -1).all()


def test_the_last_run_of_the_screen_is_the_recipe():
    assert experiment.screen()[-1] == experiment.arm("recipe") == experiment.RECIPE
    assert len({str(one) for one in experiment.screen()}) == 16


def test_seven_groups_of_four_pairs():
    groups = experiment.groups()
    assert [len(group) for group in groups] == [4] * 7
    assert len({pair for group in groups for pair in group}) == 28


def test_an_effect_is_the_mean_with_the_step_less_the_mean_without():
    table = stored()
    runs, design = experiment.outcomes(table).to_numpy(), experiment.design()
    by_hand = runs[2][design[:, 3] > 0].mean() - runs[2][design[:, 3] < 0].mean()
    assert experiment.effects(table)["width"].iloc[2] == pytest.approx(by_hand)


def test_the_screen_finds_planted_effects_and_an_interaction_leaves_them_alone():
    table, design = stored().copy(), experiment.design()
    planted = np.array([0.3, -1.0, 0.5, 0.2, 0.0, -2.0, 0.1, 0.0])
    outcome = design @ planted / 2 + 0.8 * design[:, 0] * design[:, 1]
    for one, value in zip(experiment.screen(), outcome, strict=True):
        hit = (table[list(one)] == pd.Series(one)).all(axis=1) & table["seed"].isin(experiment.SETTINGS["seeds"])
        table.loc[hit, "eer"] = value / 100
    assert np.allclose(experiment.effects(table).mean(), planted)
    assert experiment.interactions(table).mean().abs().max() == pytest.approx(1.6)


def test_decay_shortens_the_rows_of_w_and_only_them():
    short, long = (experiment.train(experiment.setting(decay=decay), 0, "smoke") for decay in (20.0, 5e-4))
    assert short.loss.weight.norm(dim=1).mean() < 0.9 * long.loss.weight.norm(dim=1).mean()
    assert "weight" in short.loss.no_weight_decay


def test_the_margin_grows_over_its_share_of_the_steps():
    loss = ArcFace(4, 3, margin=0.1)
    hook = experiment.before_each_step(experiment.setting(warmup=0.5), loss)
    margins = []
    for step in (0, 25, 50, 99):
        hook(step, 100)
        margins.append(loss.margin)
    assert margins == pytest.approx([0, 0.3, 0.6, 0.6])


def test_a_fifth_of_the_names_is_wrong_and_the_oracle_drops_just_these():
    wanted = experiment.arm("oracle")
    data, truth = experiment.shown(experiment.arm("names"), 3), experiment.faces.people("fit", 3)
    wrong = data.labels != truth.labels
    assert 0.17 < wrong.float().mean() < 0.23
    assert len(experiment.shown(wanted, 3)) == int((~wrong).sum())


def test_the_sub_centre_arm_has_sub_centres():
    head = experiment.head(experiment.arm("Sub-center, noisy"), 4, 3)
    assert isinstance(head, SubCenterArcFace)
    assert head.num_subcenters == 3


def test_rows_with_decay_and_with_a_growing_rate_have_one_direction():
    _, _, (decay, grows, neither) = experiment.decay.twins()
    unit = torch.nn.functional.normalize
    assert torch.allclose(unit(decay, dim=2), unit(grows, dim=2), atol=1e-12)
    assert not torch.allclose(unit(decay, dim=2), unit(neither, dim=2), atol=0.1)
    assert decay[-1].norm() < grows[-1].norm()


# ---- the verdict ----------------------------------------------------------------------------------------------------


def stored():
    return lesson.results(experiment.CHAPTER, experiment.SETTINGS)


def moved(table, wanted, points, seeds):
    """The same table with the EER of one setting changed by some points of percent."""
    table = table.copy()
    hit = table["seed"].isin(seeds)
    for column, value in wanted.items():
        hit &= table[column] == value
    assert hit.any()
    table.loc[hit, "eer"] += points / 100
    return table


def test_the_claim_holds_for_the_stored_table():
    assert experiment.holds(stored())


def test_it_falls_where_the_loss_is_what_counts_in_the_screen():
    table = stored()
    for one in experiment.screen():
        if one["loss"] == "normface":
            table = moved(table, one, 6.0, experiment.SETTINGS["seeds"])
    assert "loss" in experiment.order(table)[: experiment.LARGEST]
    assert not experiment.holds(table)


def test_it_falls_where_fresh_seeds_say_otherwise():
    table, fresh = stored(), experiment.SETTINGS["fresh_seeds"]
    assert not experiment.holds(moved(table, experiment.arm("loss"), 3.0, fresh))
    for name in experiment.order(table)[: experiment.LARGEST]:
        lost = float(experiment.cost(table, name).mean())
        assert not experiment.holds(moved(table, experiment.arm(name), -lost, fresh)), name


def test_that_no_loss_undoes_wrong_names_is_not_shown_and_would_be_where_all_stay_behind():
    table, fresh = stored(), experiment.SETTINGS["fresh_seeds"]
    assert not experiment.behind(table)
    worse = moved(table, experiment.arm(experiment.NOISY["Sub-center"]), 1.0, fresh)
    assert experiment.behind(worse)
    for name in experiment.NOISY.values():
        gap = float(experiment.cost(worse, name, "loss").mean())
        assert not experiment.behind(moved(worse, experiment.arm(name), -gap, fresh)), name
