"""The synthetic protocol keeps its own rules, and what is stored follows from the stored runs."""

import importlib
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from facelearn.data import STANDARD
from facelearn.lesson import settings_hash
from facelearn.losses import REGISTRY, Joint
from facelearn.recipe import Recipe
from tools import protocol as runner
from tools import protocol_page

COURSE = Path(__file__).resolve().parents[2] / "course"
RESULTS = COURSE / "results"
SEARCH, RATES, FINALS = (RESULTS / name for name in ("search.csv", "search_rates.csv", "protocol.csv"))


@pytest.fixture(scope="module")
def protocol():
    return importlib.import_module("experiments.protocol")


def recipes(protocol):
    return [recipe for grid in protocol.GRIDS.values() for recipe in grid]


# ---- the rules ------------------------------------------------------------------------------------------------------


def test_every_loss_has_a_grid_of_at_most_six_different_settings(protocol):
    assert list(protocol.GRIDS) == list(REGISTRY)
    for loss, grid in protocol.GRIDS.items():
        assert 1 < len(grid) <= protocol.MOST == 6
        assert len({protocol.words(recipe) for recipe in grid}) == len(grid)
        assert {recipe["loss"] for recipe in grid} == {loss}


def test_every_recipe_gives_its_loss_with_its_settings(protocol):
    embeddings, labels = torch.randn(12, 8), torch.arange(3).repeat(4)
    for recipe in recipes(protocol):
        loss, on_step = Recipe.from_json(recipe).build(8, 3)
        assert loss(embeddings, labels).isfinite()
        if "beside_softmax" in recipe:
            assert isinstance(loss, Joint)
            loss = loss.parts[1]
        assert type(loss) is REGISTRY[recipe["loss"]]
        for name, value in recipe["arguments"].items():
            if name == "base_loss":
                assert type(loss.base_loss) is REGISTRY[value["stem"]]
                assert loss.base_loss.margin == value["margin"]
            elif name == "bias":
                assert (loss.bias is not None) == value
            elif name == "covariance":
                assert (loss.log_var is not None) == (value == "diagonal")
            else:
                assert getattr(loss, name) == value
        assert (on_step is not None) == (recipe["loss"] == "ring")


def test_ring_joins_after_30_percent_of_the_steps(protocol):
    for recipe in protocol.GRIDS["ring"]:
        joint, on_step = Recipe.from_json(recipe).build(8, 3)
        weights = []
        for step in range(10):
            on_step(step, 10)
            weights.append(joint.weights[1])
        assert weights == 3 * [0.0] + 7 * [recipe["beside_softmax"]["weight"]]
        assert joint.weights[0] == 1.0


def test_all_losses_take_equally_many_steps(protocol):
    fit = STANDARD["fit"]
    labels = torch.arange(fit["identities"]).repeat_interleave(fit["images_per_identity"])
    batch = protocol.SETTINGS["training"]["batch_size"]
    for recipe in recipes(protocol):
        if "batches" in recipe:
            plan = Recipe.from_json(recipe).batches(labels, 1, torch.Generator().manual_seed(0))
            assert len(plan) == len(labels) // batch == 46
            assert {len(index) for index in plan} == {batch}


def test_search_and_finals_share_no_seed_with_each_other_or_with_what_was_used_before(protocol):
    arcface = importlib.import_module("experiments.arcface").SETTINGS
    used = {part["seed"] for part in STANDARD.values()} | {protocol.SEARCH_SEED, arcface["live_seed"]}
    used |= {*arcface["seeds"]}
    assert not used & set(protocol.FINAL_SEEDS)
    assert len(set(protocol.FINAL_SEEDS)) == 5
    jobs = list(protocol.search())
    assert len(jobs) == len(recipes(protocol))
    assert {(split, seed) for _, split, seed in jobs} == {("tune", protocol.SEARCH_SEED)}


@pytest.fixture
def asked_for(protocol, monkeypatch):
    """The (split, seed) of every set of faces that a run asks for; few small ones instead of the standard ones."""
    asked, standard = [], protocol.standard

    def record(name, seed=None, **changes):
        asked.append((name, STANDARD[name]["seed"] if seed is None else seed))
        return standard(name, seed=seed, **changes | {"identities": 34, "images_per_identity": 6})

    monkeypatch.setattr(protocol, "standard", record)
    monkeypatch.setattr(protocol, "measure", lambda net, strangers: dict.fromkeys(protocol.MEASURES, 0.5))
    protocol.people.cache_clear()
    yield asked
    protocol.people.cache_clear()


def test_the_search_sees_tune_and_never_open(protocol, asked_for):
    protocol.run(protocol.GRIDS["normface"][0], *next(protocol.search())[1:], "smoke")
    assert set(asked_for) == {("fit", 1), ("tune", 500)}


def test_the_finals_see_open_and_never_tune(protocol, asked_for):
    first = protocol.GRIDS["normface"][0]
    jobs = list(protocol.finals({"normface": first}))
    assert [seed for *_, seed in jobs] == list(protocol.FINAL_SEEDS)
    protocol.run(*jobs[0], "smoke")
    assert set(asked_for) == {("fit", 1001), ("open", 1001)}


def test_a_net_starts_the_same_whatever_the_loss(protocol, monkeypatch, asked_for):
    starts = []
    monkeypatch.setattr(protocol, "fit", lambda net, *_, **__: starts.append([p.clone() for p in net.parameters()]))
    for loss in ("softmax", "subcenter_arcface", "ring"):
        protocol.run(protocol.GRIDS[loss][0], "open", 1001, "smoke")
    for start in starts[1:]:
        assert all(map(torch.equal, starts[0], start))


def test_what_diverged_is_recorded_as_such_and_never_chosen(protocol, monkeypatch, asked_for):
    def fail(*_, **__):
        raise FloatingPointError

    monkeypatch.setattr(protocol, "fit", fail)
    recipe = protocol.GRIDS["softmax"][0]
    assert np.isnan(list(protocol.run(recipe, "tune", 1, "smoke").values())).all()
    rows = table_of(protocol, "softmax", eer=[np.nan, 0.3], tar=[0.1, 0.1])
    assert protocol.choose(rows)["softmax"] == protocol.GRIDS["softmax"][1]


# ---- choosing -------------------------------------------------------------------------------------------------------


def table_of(protocol, loss, eer, tar):
    names = [protocol.words(recipe) for recipe in protocol.GRIDS[loss]]
    return pd.DataFrame({"loss": loss, "setting": names, "split": "tune", "eer": eer, "tar_1e2": tar})


def test_choose_takes_the_smallest_eer_and_settles_ties_by_tar(protocol):
    grid = protocol.GRIDS["normface"]
    assert protocol.choose(table_of(protocol, "normface", [4, 3, 2, 3], [1, 2, 3, 9]))["normface"] == grid[2]
    assert protocol.choose(table_of(protocol, "normface", [2, 3, 2, 3], [1, 2, 3, 9]))["normface"] == grid[2]
    incomplete = table_of(protocol, "normface", [4, 3, 2, 3], [1, 2, 3, 9]).iloc[1:]
    assert protocol.choose(incomplete) == {}
    on_open = table_of(protocol, "normface", [4, 3, 2, 3], [1, 2, 3, 9]).assign(split="open")
    assert protocol.choose(on_open) == {}


def test_a_tie_in_other_last_digits_is_a_tie(protocol):
    """170 errors of 4,500, once from the left and once from the right of the crossing: the larger TAR decides."""
    rows = [
        {"loss": "discface", "setting": protocol.words(recipe), "split": "tune", "eer": eer, "tar_1e2": tar}
        for recipe, eer, tar in zip(
            protocol.GRIDS["discface"],
            (0.0377777777777778, 0.05, 0.03777777777777778, 0.05, 0.05),
            (0.86, 0.9, 0.85, 0.9, 0.9),
            strict=True,
        )
    ]
    assert protocol.choose(pd.DataFrame(rows))["discface"] == protocol.GRIDS["discface"][0]


def test_one_rate_more_where_the_best_stands_at_an_end(protocol):
    chosen = {loss: protocol.GRIDS[loss][0] for loss in ("softmax", "normface", "triplet", "arcface")}
    asked = [recipe for recipe, *_ in protocol.rates(chosen)]
    assert [recipe["lr"] for recipe in asked] == 4 * [1.6e-2, 3.2e-2]
    eer = [3, 3, 3, 3, 4, 5, 4, 2, 2, 4, 2]  # first what the search has; of arcface one rate is missing
    tried = [*chosen.values(), *asked]
    columns = {"loss": [r["loss"] for r in tried], "setting": [protocol.words(r) for r in tried], "split": "tune"}
    table = pd.DataFrame(columns).iloc[: len(eer)].assign(eer=eer, tar_1e2=0.5)
    beyond = [(recipe["loss"], recipe["lr"]) for recipe, *_ in protocol.rates(chosen, table)[len(asked) :]]
    assert beyond == [("softmax", 2e-3), ("normface", 6.4e-2)]
    assert {loss: recipe["lr"] for loss, recipe in protocol.best_rates(chosen, table).items()} == {"triplet": 1.6e-2}
    for loss, lr, worse in (("softmax", 2e-3, 4e-3), ("normface", 6.4e-2, 3.2e-2)):
        row = {"loss": loss, "setting": protocol.words(chosen[loss] | {"lr": lr}), "split": "tune", "tar_1e2": 0.5}
        for found, best in ((1, lr), (9, worse)):
            longer = pd.concat([table, pd.DataFrame([row | {"eer": found}])])
            assert protocol.best_rates(chosen, longer)[loss] == chosen[loss] | {"lr": best}


def test_a_recipe_is_trained_at_its_own_rate(protocol, monkeypatch, asked_for):
    seen = []
    monkeypatch.setattr(protocol, "fit", lambda *_, **options: seen.append(options["lr"]))
    for recipe in (protocol.GRIDS["ring"][0], protocol.GRIDS["ring"][0] | {"lr": 1.6e-2}):
        protocol.run(recipe, "tune", 1, "smoke")
    assert seen == [4e-3, 1.6e-2]


def test_edges_are_seen_among_settings_of_one_kind(protocol):
    arcface = {(r["arguments"]["scale"], r["arguments"]["margin"]): r for r in protocol.GRIDS["arcface"]}
    assert protocol.edges(arcface[8, 0.6]) == []
    assert protocol.edges(arcface[16, 0.4]) == ["scale 16", "margin 0.4"]
    semi_hard, batch_hard, every = (protocol.GRIDS["triplet"][i] for i in (1, 3, 5))
    assert protocol.edges(semi_hard) == []
    assert protocol.edges(batch_hard) == ["margin 0.2"]
    assert protocol.edges(every) == []
    assert [len(protocol.alike(recipe)) for recipe in (semi_hard, batch_hard, every)] == [3, 2, 1]
    assert protocol.edges(protocol.GRIDS["center"][-1]) == ["weight 0.1"]


# ---- the runner, end to end and small -------------------------------------------------------------------------------


def test_a_small_protocol_from_search_to_page_resumes_where_it_stopped(protocol, monkeypatch, tmp_path, capsys):
    grids = {"softmax": protocol.GRIDS["softmax"][:1], "normface": protocol.GRIDS["normface"][:2]}
    monkeypatch.setattr(protocol, "GRIDS", grids)
    monkeypatch.setattr(protocol, "FINAL_SEEDS", (1001, 1002))
    monkeypatch.setenv("FACELEARN_CACHE", str(tmp_path / "cache"))
    protocol.people.cache_clear()
    smoke, results = partial(runner.measure, budget="smoke"), tmp_path / "results"
    search, rates = results / "search.csv", results / "search_rates.csv"

    def killed(recipe, split, seed):
        if recipe is grids["normface"][1]:
            raise KeyboardInterrupt
        return smoke(recipe, split, seed)

    with pytest.raises(KeyboardInterrupt):
        runner.fill(search, protocol.search(), run=killed)
    assert len(pd.read_csv(search)) == 2
    with pytest.raises(ValueError, match="found no settings of normface"):
        runner.settings_file(results)
    before = search.read_text()
    runner.fill(search, protocol.search(), run=smoke)
    assert search.read_text().startswith(before)  # nothing was measured twice

    settings = runner.chosen_settings(search)
    runner.fill(rates, protocol.rates(settings)[1:], run=smoke)
    with pytest.raises(ValueError, match="found not all rates of softmax"):
        runner.settings_file(results)
    for _ in range(2):
        runner.fill(rates, protocol.rates(settings, runner.tried(results)), run=smoke)
    runner.check(rates, protocol.rates(settings, runner.tried(results)))
    chosen = runner.write_settings(tmp_path)
    assert {loss: {**settings[loss], "lr": recipe["lr"]} for loss, recipe in chosen.items()} == chosen
    runner.fill(results / "protocol.csv", protocol.finals(settings), run=smoke)
    finals = pd.read_csv(results / "protocol.csv")
    runner.fill(results / "protocol_rates.csv", protocol.finals(chosen), run=smoke)
    (results / "rates.csv").write_bytes((RESULTS / "rates.csv").read_bytes())
    assert list(finals["loss"]) == 2 * ["softmax", "normface"]
    assert list(finals["seed"]) == [1001, 1001, 1002, 1002]
    assert finals["eer"].between(0, 0.5).all()
    assert finals.groupby("loss")["eer"].nunique().eq(2).all()  # other people for every seed

    for language in protocol_page.LANGUAGES:
        (tmp_path / language).mkdir()
        (tmp_path / language / "protocol.md").write_bytes((COURSE / language / "protocol.md").read_bytes())
    runner.write_pages(tmp_path)
    assert "Not trained yet" not in (tmp_path / "en" / "protocol.md").read_text()
    assert "Runs done: 4 of 4" in (tmp_path / "en" / "protocol.md").read_text()
    assert "not finished" not in (tmp_path / "en" / "protocol.md").read_text()
    assert "not finished" in protocol_page.count(finals.iloc[:3], protocol_page.WORDS["en"])
    assert "已完成 4 / 4" in (tmp_path / "zh" / "protocol.md").read_text()
    protocol.people.cache_clear()


def test_tables_that_do_not_belong_together_make_no_page(protocol, tmp_path):
    current = settings_hash(protocol.SETTINGS)
    jobs = [(recipe, "tune", 1) for recipe in protocol.GRIDS["softmax"]]
    rows = [{"loss": "softmax", "setting": protocol.words(recipe), "split": "tune", "seed": 1, "settings_hash": current}
            for recipe, *_ in jobs]  # fmt: skip
    table = tmp_path / "search.csv"
    pd.DataFrame(rows).to_csv(table)
    runner.check(table, jobs)
    with pytest.raises(ValueError, match=r"search.csv: found 1 rows of other settings \(softmax\)"):
        runner.check(table, jobs[:1])
    pd.DataFrame([rows[0], rows[1] | {"settings_hash": "another"}]).to_csv(table)
    with pytest.raises(ValueError, match="1 rows of other settings"):
        runner.check(table, jobs)
    pd.DataFrame(rows).drop(columns=["seed", "settings_hash"]).to_csv(table)
    for act in (runner.check, runner.fill):
        with pytest.raises(ValueError, match=r"search.csv: found no column seed, settings_hash, expected a table"):
            act(table, jobs)


def test_rows_of_other_settings_are_measured_again(protocol, tmp_path):
    row = {"loss": "softmax", "split": "tune", "seed": 1, "eer": 0.1, "seconds": 1.0}
    rows = [{**row, "setting": protocol.words(recipe)} for recipe in protocol.GRIDS["softmax"]]
    table = tmp_path / "search.csv"
    current = settings_hash(protocol.SETTINGS)
    pd.DataFrame([{**rows[0], "settings_hash": "another"}, {**rows[1], "settings_hash": current}]).to_csv(table)
    measured = []

    def run(recipe, split, seed):
        measured.append(recipe)
        return {**row, "setting": protocol.words(recipe), "settings_hash": current}

    runner.fill(table, [(recipe, "tune", 1) for recipe in protocol.GRIDS["softmax"]], run=run)
    assert measured == protocol.GRIDS["softmax"][:1]
    assert list(pd.read_csv(table)["settings_hash"]) == 2 * [current]


# ---- the page -------------------------------------------------------------------------------------------------------


def test_differences_are_paired_t_intervals_and_an_interval_over_0_is_no_gain():
    base, ours = np.array([0.04, 0.05, 0.06]), np.array([0.03, 0.042, 0.049])
    rows = [("softmax", s, e) for s, e in enumerate(base)] + [("arcface", s, e) for s, e in enumerate(ours)]
    rows += [("normface", 0, 0.05), ("normface", 2, 0.05), ("ring", 1, 0.01)]
    table = pd.DataFrame(rows, columns=["loss", "seed", "eer"])
    found = protocol_page.difference(table, "arcface", "softmax", "eer")
    low, high = stats.ttest_rel(ours, base).confidence_interval(0.95)
    assert found.n == 3
    np.testing.assert_allclose([found.mean - found.half, found.mean + found.half], [low, high])
    assert found.verdict == "better"
    assert protocol_page.difference(table, "softmax", "arcface", "eer").verdict == "worse"
    assert protocol_page.difference(table, "normface", "softmax", "eer").verdict == "same"
    assert protocol_page.difference(table, "normface", "softmax", "eer").n == 2
    assert protocol_page.difference(table, "ring", "softmax", "eer").verdict == "alone"
    assert protocol_page.difference(table, "ring", "center", "eer").verdict == "alone"


@pytest.mark.parametrize("language", protocol_page.LANGUAGES)
def test_the_page_is_what_the_stored_runs_make(language):
    page = (COURSE / language / "protocol.md").read_text(encoding="utf-8")
    assert protocol_page.render(page, COURSE, language) == page
    broken = page.replace("protocol:levels", "protocol:heights")
    with pytest.raises(ValueError, match="heights"):
        protocol_page.render(broken, COURSE, language)


# ---- what is stored -------------------------------------------------------------------------------------------------


def test_the_settings_are_the_choice_of_the_stored_search(protocol):
    assert (COURSE / "settings.json").read_text(encoding="utf-8") == runner.settings_file(RESULTS)
    chosen = protocol.choose(pd.read_csv(SEARCH))
    assert list(chosen) == list(REGISTRY)
    assert {loss: protocol.settings(loss) for loss in REGISTRY} == json.loads(json.dumps(chosen))
    best = protocol.best_rates(chosen, runner.tried(RESULTS))
    assert {loss: protocol.rate(loss) for loss in REGISTRY} == {loss: recipe["lr"] for loss, recipe in best.items()}
    for read in (protocol.settings, protocol.rate):
        with pytest.raises(ValueError, match="expected one of softmax"):
            read("arc_face")


def test_stored_runs_belong_to_the_protocol(protocol):
    """No row from elsewhere, none twice. Of the finals some may be missing, which the page then says."""
    search, current = pd.read_csv(SEARCH), settings_hash(protocol.SETTINGS)
    key = ["loss", "setting", "split", "seed"]
    planned = [(r["loss"], protocol.words(r), split, seed) for r, split, seed in protocol.search()]
    assert list(search[key].itertuples(index=False, name=None)) == planned
    if not FINALS.is_file():
        pytest.skip("the finals have not been run")
    finals, rates = pd.read_csv(FINALS), pd.read_csv(RATES)
    jobs = protocol.rates({loss: protocol.settings(loss) for loss in REGISTRY}, runner.tried(RESULTS))
    planned = [(r["loss"], protocol.words(r), split, seed) for r, split, seed in jobs]
    assert list(rates[key].itertuples(index=False, name=None)) == planned
    jobs = protocol.finals({loss: protocol.settings(loss) for loss in REGISTRY})
    planned = [(r["loss"], protocol.words(r), split, seed) for r, split, seed in jobs]
    stored = list(finals[key].itertuples(index=False, name=None))
    assert stored == [job for job in planned if job in stored]
    for table in (search, rates, finals):
        assert set(table["settings_hash"]) == {current}
        for number in ("accuracy", "tar_1e2", "tar_1e3"):
            assert table[number].dropna().between(0, 1).all()
        assert table["eer"].dropna().between(0, 0.6).all()


def setup_module():
    sys.path.insert(0, str(COURSE))


def teardown_module():
    sys.path.remove(str(COURSE))
