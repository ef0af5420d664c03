"""What is particular to chapter 21: rules fixed before the numbers, and worlds in which its claim is false."""

import json

import numpy as np
import pandas as pd
import pytest
from experiments import capstone as experiment
from experiments import protocol
from scipy.stats import ttest_1samp

from facelearn import lesson
from facelearn.verification import all_pairs, evaluate_pairs


def world(gaps, spread=0.03, seeds=5, draw=0):
    """A table of finals: each loss so many points behind the shipped one, seeds paired."""
    draws = np.random.default_rng(draw)
    rows = []
    for seed in range(seeds):
        people = draws.normal(2, 0.3)
        for loss, gap in {experiment.SHIPPED: 0.0, **gaps}.items():
            rows.append({"loss": loss, "seed": seed, "eer": (people + gap + spread * draws.normal()) / 100})
    return pd.DataFrame(rows)


def others(gap):
    return {f"loss {k}": gap for k in range(22)}


def test_what_was_written_down_before():
    settings = experiment.SETTINGS
    assert (settings["shipped"], settings["bound"], settings["level"], settings["not_told"]) == (
        "npcface",
        0.2,
        0.95,
        5,
    )
    assert experiment.on_tune().idxmin() == settings["shipped"]


def test_the_rival_is_the_best_of_the_others_in_the_finals():
    assert experiment.best_other(experiment.finals()) == experiment.SETTINGS["rival"]
    seeds = set(experiment.finals()["seed"])
    assert seeds == set(protocol.FINAL_SEEDS)
    assert not seeds & {*experiment.SETTINGS["seeds"], experiment.SETTINGS["live_seed"]}


def test_the_finals_are_whole_and_at_each_losss_own_rate():
    table = experiment.finals()
    assert len(table) == 115
    for loss, setting in zip(table["loss"], table["setting"], strict=True):
        assert json.loads(setting)["lr"] == protocol.rate(loss)
    assert table[["eer", "dimension", "tail"]].notna().all().all()


def test_the_stored_draws_begin_with_everybody_once():
    table = experiment.finals()
    first = table["people_draws"].str.split().str[0].astype(int)
    np.testing.assert_allclose(first, 1e5 * table["eer"], atol=1)
    assert (table["people_draws"].str.split().str.len() == protocol.DRAWS + 1).all()


def test_a_draw_of_everybody_once_is_the_equal_error_rate():
    draws = np.random.default_rng(0)
    x = draws.normal(size=(40, 5)) + 2 * draws.normal(size=(8, 5)).repeat(5, 0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = np.arange(8).repeat(5)
    pairs, same = all_pairs(labels)
    scores = (x[pairs[:, 0]] * x[pairs[:, 1]]).sum(1)
    found = protocol.eer_of_draws(scores, same, labels[pairs].T, 50)
    assert found[0] == pytest.approx(evaluate_pairs(x, pairs, same).eer, abs=0.01)
    cut = protocol.eer_of_draws(scores, same, labels[pairs].T, 50, most=min(1.0, 1.5 * max(found)))
    np.testing.assert_allclose(cut, found)


def test_people_drawn_anew_are_weighted_as_if_they_were_written_out():
    draws = np.random.default_rng(3)
    x, labels = draws.normal(size=(30, 4)), np.arange(6).repeat(5)
    x += 1.5 * draws.normal(size=(6, 4)).repeat(5, 0)
    pairs, same = all_pairs(labels)
    scores = (x[pairs[:, 0]] * x[pairs[:, 1]]).sum(1)
    who = labels[pairs].T
    w = np.bincount(np.random.default_rng(0).integers(6, size=6), minlength=6)
    times = np.where(same, w[who[0]], w[who[0]] * w[who[1]])
    impostor, genuine = (np.repeat(scores[kind], times[kind]) for kind in (~same, same))
    rates = [((impostor >= t).mean(), (genuine < t).mean()) for t in np.unique(scores)]
    best = min(max(pair) for pair in rates)
    found = protocol.eer_of_draws(scores, same, who, 1)[1]
    assert found == pytest.approx(best, abs=1 / len(genuine) + 1 / len(impostor))


def test_differences_are_judged_as_scipy_does():
    d = experiment.differences(world({"a": 0.1, "b": -0.05, "c": 1.0}, 0.05))
    found = experiment.judged(d)
    for loss in d:
        assert found["p"][loss] == pytest.approx(ttest_1samp(d[loss], 0).pvalue)
        below = ttest_1samp(d[loss], 0.2, alternative="less").pvalue
        above = ttest_1samp(d[loss], -0.2, alternative="greater").pvalue
        assert found["p_same"][loss] == pytest.approx(max(below, above))
        assert found["half"][loss] == pytest.approx(lesson.interval(d[loss]).half_width)
        assert found["wide"][loss] > found["half"][loss]
    assert list(found.index) == ["b", "a", "c"]


def test_far_losses_are_told_and_near_ones_the_same():
    found = experiment.judged(experiment.differences(world({"near": 0.01, "far": 1.0}, 0.02)))
    assert list(found["told"]) == [False, True]
    assert list(found["same"]) == [True, False]


def test_equal_losses_raise_few_alarms_together():
    alarms = [experiment.judged(experiment.differences(world(others(0.0), draw=k)))["told"].any() for k in range(200)]
    assert np.mean(alarms) < 0.1


def test_the_regret_holds_what_shipping_costs():
    gaps = others(0.3) | {"loss 7": -0.15}
    limits = [experiment.regret(experiment.differences(world(gaps, draw=k))) for k in range(200)]
    assert np.mean(np.array(limits) >= 0.15) > 0.93
    assert experiment.regret(experiment.differences(world(others(2.0)))) == 0


# ---- the claim ------------------------------------------------------------------------------------------------------


def fresh(gap, spread=0.03):
    """Rows of fresh seeds in which the shipped loss is `gap` points behind its rival."""
    draws = np.random.default_rng(5)
    rows = []
    for seed in experiment.SETTINGS["seeds"]:
        for loss, level in ((experiment.SHIPPED, 2 + gap), (experiment.RIVAL, 2.0)):
            rows.append({"loss": loss, "seed": seed, "eer": (level + spread * draws.normal()) / 100})
    return pd.DataFrame(rows)


def test_the_claim_stands_where_shipping_costs_little_and_many_are_close():
    assert experiment.holds(world(others(0.02)), fresh(0.02))


def test_the_claim_is_false_where_the_shipped_loss_is_bad():
    assert not experiment.holds(world(others(0.02)), fresh(0.4))
    assert not experiment.holds(world(others(0.02)), fresh(0.05, spread=0.5))  # too few seeds to know


def test_the_claim_is_false_where_five_seeds_can_rank():
    assert not experiment.holds(world(others(0.0) | {f"loss {k}": 0.5 + 0.2 * k for k in range(19)}), fresh(0.0))


# ---- reading --------------------------------------------------------------------------------------------------------


def test_people_who_are_all_the_luck_have_the_whole_share():
    """Where the seeds differ by their people alone, the scatter over seeds is that of drawing people."""
    draws = np.random.default_rng(0)
    rows = []
    for seed in range(40):
        for loss, gap in ((experiment.SHIPPED, 0.0), ("a", 0.1), ("b", 0.2)):
            centre = 0.02 + gap / 100 + 0.001 * draws.normal()
            tests = [centre, *(centre + 0.001 * draws.normal(size=200))]
            text = " ".join(f"{1e5 * one:.0f}" for one in tests)
            rows.append({"loss": loss, "seed": seed, "eer": centre, "people_draws": text})
    found = experiment.scatter(pd.DataFrame(rows))
    assert experiment.share(found) == pytest.approx(1, rel=0.25)


def test_the_first_of_each_order_stands_under_its_name():
    finals = experiment.finals()
    best, strict = experiment.levels(finals).mean().idxmin(), experiment.levels(finals, "tar_1e3").mean().idxmax()
    tune, photographs = experiment.on_tune().idxmin(), experiment.on_photographs().idxmin()
    _, lines = experiment.orders(finals, experiment.finals("one"))
    found = {name: tuple(firsts) for name, _, _, *firsts in lines}
    name = experiment.NAMES
    assert found["own rates: tune and open"] == (name[tune], name[best])
    assert found["own rates: EER and TAR@1e-3"] == (name[best], name[strict])
    assert found["own rates, and photographs"][1] == name[photographs]


def test_nothing_is_cut_off_in_the_forest_of_five_seeds():
    d = experiment.differences(experiment.finals())
    found, axis = experiment.judged(d), experiment.forest(d).axes[0]
    low, high = axis.get_xlim()
    assert low < (found["mean"] - found["wide"]).min()
    assert high > (found["mean"] + found["wide"]).max()


def test_the_claims_are_counted_once_their_page_is_there(tmp_path, monkeypatch):
    (tmp_path / "en").mkdir()
    monkeypatch.setattr(lesson, "course_folder", lambda: tmp_path)
    assert experiment.ledger().endswith("not run again yet")
    text = "20 claims. Run again 20: standing 15, uncertain 4, fallen 1. If all"
    (tmp_path / "en" / "claims.md").write_text(text)
    assert experiment.ledger().endswith("Run again 20: standing 15, uncertain 4, fallen 1.")


def test_a_page_has_every_field():
    fields = {"ship": "NPCFace", "regret": 0.1234, "told": "a, b", "same": "", "open": "c"}
    text = experiment.page(fields)
    assert all(words in text for words in ("NPCFace", "0.12", "a, b", "none", "Open: c"))
    assert max(map(len, text.splitlines())) <= 100
