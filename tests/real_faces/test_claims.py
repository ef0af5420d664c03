"""The chapters' questions in miniature: rates computed twice, differences in worlds with a known answer, a run."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("skimage", reason='needs scikit-image: pip install "facelearn[real]"')

from facelearn.real_faces import claims, claims_net, load
from facelearn.real_faces.__main__ import main
from facelearn.real_faces.claims import (
    BOUNDS,
    GRIDS,
    TANGENT,
    Effect,
    Judged,
    Plan,
    Seen,
    Setting,
    Work,
    effect,
)
from facelearn.recipe import Recipe
from facelearn.verification import all_pairs, evaluate_pairs
from tests.real_faces.drawn import write_lfw

SMALL = Plan(steps=3, dimensions=10, chosen_on=(1,), measured_on=(0, 2), seeds=(5, 6), resamples=4, rates=(3e-3,),
             softmax_rates=(3e-3,), grids={loss: words[:2] for loss, words in GRIDS.items()})  # fmt: skip


def people(seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(40), 4)
    return rng.normal(size=(40, 8))[labels] + noise * rng.normal(size=(160, 8)), labels


def test_rates_are_those_of_the_package() -> None:
    x, labels = people(0)
    found, expected = Judged(x, labels, np.ones(160, bool)).rates(), evaluate_pairs(x, *all_pairs(labels))
    assert found.eer == pytest.approx(expected.eer, abs=1e-12)
    assert found.tar == pytest.approx(expected.tar_at(1e-3), abs=1e-12)


def test_a_person_who_comes_up_twice_is_two_people() -> None:
    """Copies of one person, each with the same images, do not meet as impostors."""
    x, labels = people(1)
    times = claims.drawn(np.random.default_rng(2), 40)
    copies = np.repeat(np.arange(40), times)
    rows = np.concatenate([x[labels == who] for who in copies])
    who, number = np.repeat(copies, 4), np.repeat(np.arange(len(copies)), 4)
    pairs, same = all_pairs(number)
    met = same | (who[pairs[:, 0]] != who[pairs[:, 1]])
    expected, found = evaluate_pairs(rows, pairs[met], same[met]), Judged(x, labels, np.ones(160, bool)).rates(times)
    assert found.eer == pytest.approx(expected.eer, abs=1e-12)
    assert found.tar == pytest.approx(expected.tar_at(1e-3), abs=1e-12)


def test_the_shortest_are_rejected() -> None:
    x = np.diag([5.0, 1.0, 4.0, 2.0, 3.0])
    assert claims.shortest_away(x, 0.4).tolist() == [True, False, True, False, True]
    assert claims.shortest_away(x, 0.0).all()


def world(gap: float, seed: int, spread: float = 0.1) -> tuple[Seen, Seen]:
    """Two losses in three rotations with three seeds, `gap` points apart; draws of people move both alike, and each."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=(3, 1, 60)), spread * rng.normal(size=(2, 3, 3, 60))
    value = 14 + spread * rng.normal(size=(2, 3, 3))
    value[0] += gap
    first, second = (Seen(v, v[..., None] + common + o) for v, o in zip(value, own, strict=True))
    return first, second


def test_a_world_where_the_claim_is_false_gets_another_verdict() -> None:
    better, none, worse = (effect(*world(gap, seed=3)) for gap in (-1.0, 0.0, 1.0))
    assert [claims.verdict("EER", found, found.p) for found in (better, worse)] == ["better", "worse"]
    assert claims.verdict("TAR@1e-3", better, better.p) == "worse"
    assert claims.verdict("EER", none, 1.0) == "practically no difference"
    assert claims.verdict("EER", Effect(-0.4, -0.9, 0.1, 0.2), 1.0) == "open"
    assert claims.verdict("EER", better, 0.06) == "open"  # after Holm it is not shown, and it is not small


def test_people_and_seeds_both_widen_the_interval() -> None:
    a, b = world(0.0, seed=4)
    found = effect(a, b)
    seeds = (a.value - b.value).mean(0).var(ddof=1) / 3
    drawn = (a.draws - b.draws).mean(1).var(1, ddof=1).sum() / 9
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.sqrt(seeds + drawn))
    assert found.value == pytest.approx((a.value - b.value).mean())
    assert effect(a).value == pytest.approx(a.value.mean())


def test_every_loss_has_the_same_budget_and_settings_that_can_be_built() -> None:
    plan = Plan()
    for loss, grid in GRIDS.items():
        rates = plan.softmax_rates if loss == "softmax" else plan.rates
        assert len(set(grid)) + len(rates) == 8, loss
        for words in grid:
            assert Recipe.parse(words).terms[0].stem == loss
    assert not set(plan.chosen_on) & set(plan.measured_on)
    assert plan.search_seed not in plan.seeds


@pytest.fixture(scope="module")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lfw(tmp_path_factory.mktemp("lfw"))


@pytest.fixture(scope="module")
def run(lfw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    claims.ask(Work(folder, load(lfw), SMALL), say=lambda _: None)
    return folder


def test_a_run_answers_every_question_and_a_second_one_trains_nothing(run: Path, lfw: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in (run / "claims").iterdir()}
    found = claims.ask(Work(run, load(lfw), SMALL), date="today", say=lambda _: None)
    assert {file: file.stat().st_mtime_ns for file in (run / "claims").iterdir()} == before
    assert set(found.compared["chapter"]) == {"12", "14", "15", "18", "21"}
    assert (found.compared["settings_hash"] == SMALL.hash).all()
    assert (found.compared["date"] == "today").all()
    assert (found.compared["p_holm"] >= found.compared["p"]).all()
    assert found.search.groupby("loss")["chosen"].sum().eq(1).all()
    assert set(found.measured["rotation"]) == {1, 3}
    assert len(found.measured) == (len(GRIDS) + 1) * 2 * 2
    means = found.measured.groupby("loss")[list(BOUNDS)].mean()
    row = found.compared.iloc[0]
    assert row["effect"] == pytest.approx(means["EER"]["cosface"] - means["EER"]["normface"])


def test_the_tangent_has_circle_losss_scale_and_margin(run: Path, lfw: Path) -> None:
    found = claims.Work(run, load(lfw), SMALL).search()
    circle = Recipe.parse(claims.best(found["circleface"]).words).terms[0].settings
    (words,) = {setting.words for setting in found[TANGENT]}
    tangent = Recipe.parse(words).terms[0]
    assert tangent.stem == "cosface"
    assert tangent.settings["scale"] == pytest.approx(2 * circle["margin"] * circle["gamma"], rel=1e-3)
    assert tangent.settings["margin"] == pytest.approx(1 - 2 * circle["margin"], rel=1e-3)


def test_other_steps_or_faces_take_nothing_from_a_run(run: Path, lfw: Path, tmp_path: Path) -> None:
    setting, faces = Setting("softmax", 1e-2), load(lfw)
    other = [Plan(steps=4, dimensions=10), Plan(steps=3, dimensions=11)]
    files = [claims.Work(run, faces, plan).file(setting, 0, 5) for plan in (SMALL, *other)]
    files.append(claims.Work(run, load(write_lfw(tmp_path, seed=1)), SMALL).file(setting, 0, 5))
    assert files[0].exists()
    assert len(set(files)) == 4


def test_command_writes_three_tables(
    run: Path, lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "Plan", lambda: SMALL)
    given = ["claims", "--folder", str(lfw), "--run", str(run), "--csv", str(tmp_path / "claims.csv")]
    assert main(given) == 0
    assert "cosface - normface" in capsys.readouterr().out
    for name in ("", "_search", "_losses"):
        assert len(pd.read_csv(tmp_path / f"claims{name}.csv"))


def test_the_net_answers_one_question(
    lfw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(claims_net.PLAN, steps=2, measured_on=(0, 2), resamples=3)
    monkeypatch.setattr(claims_net, "PLAN", plan)
    given = ["claims", "--net", "--folder", str(lfw), "--run", str(tmp_path), "--csv", str(tmp_path / "net.csv")]
    assert main(given) == 0
    assert "arcface - normface" in capsys.readouterr().out
    asked, searched = (pd.read_csv(tmp_path / f"net{part}.csv") for part in ("", "_search"))
    assert list(asked["measure"]) == ["EER", "TAR@1e-3"]
    assert (asked["where"] == "LFW, rotations 1, 3, the page's net").all()
    assert searched["loss"].value_counts().to_dict() == {"normface": 5, "arcface": 5}
    faces, setting = load(lfw), Setting("normface:scale=8", 3e-3)
    kinds = claims_net.NetWork(tmp_path, faces, plan), Work(tmp_path, faces, plan)
    assert kinds[0].file(setting, 0, 5) != kinds[1].file(setting, 0, 5)


@pytest.mark.skipif(not os.environ.get("FACELEARN_DATA"), reason="FACELEARN_DATA is not set: no photographs of LFW")
def test_on_photographs_a_matrix_of_a_few_steps_beats_chance(tmp_path: Path) -> None:
    plan = Plan(steps=20, dimensions=40)
    work = claims.Work(tmp_path, load(), plan)
    rng = np.random.default_rng(0)
    mixed = work.faces.images.reshape(len(work.faces.labels), -1)[:, ::97].numpy()  # pixels stand in for LBP: seconds
    work._rows[0] = work.rotation(0).reduced(mixed + 0.01 * rng.normal(size=mixed.shape), 40)
    assert work.eer(Setting("arcface:scale=16,margin=0.3", 1e-2), 0, 1) < 0.4
