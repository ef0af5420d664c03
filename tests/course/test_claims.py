"""The ledger of claims: the rule where the truth is known, the comparisons of each verdict, seeds, rows, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from experiments import claims, faces
from experiments.claims import FALLS, STANDS, UNCERTAIN, Finding

from facelearn import lesson
from tools import claims as runner
from tools import claims_page, results

COURSE = Path(__file__).resolve().parents[2] / "course"
EVERY = [(chapter, place) for chapter, several in claims.CLAIMS.items() for place in range(len(several))]


def finding(old: list[float], new: list[float], kind: str = "above", limit: float = 0.0, by: str = "mean") -> Finding:
    values = pd.Series([*old, *new], [*range(len(old)), *claims.BLOCK[: len(new)]], dtype=float)
    return Finding("made up", values, kind, limit, by)


# ---- the rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "kind", "limit", "expected"),
    [
        ([1.0, 1.2, 0.8, 1.1], [0.9, 1.0, 1.1], "above", 0, STANDS),
        ([1.0, 1.2, 0.8, 1.1], [-0.9, -1.0, -1.1], "above", 0, FALLS),  # the new seeds alone are sure of the opposite
        ([1.0, 1.2, 0.8, 1.1], [-0.1, 0.1, -0.3], "above", 0, UNCERTAIN),  # on the wrong side, but not surely
        ([0.3, 0.5, 0.1, 0.4], [0.9, -0.6, 0.1], "above", 0, UNCERTAIN),  # on the right side, all together too wide
        ([-1.0, -1.2, -0.8], [-1.0, -0.9, -1.1], "below", 0, STANDS),
        ([-1.0, -1.2, -0.8], [1.0, 0.9, 1.1], "below", 0, FALLS),
        ([0.1, 0.0, -0.1, 0.05], [0.0, 0.1, -0.05], "within", 0.3, STANDS),
        ([0.1, 0.0, -0.1, 0.05], [0.6, 0.61, 0.59], "within", 0.3, FALLS),
        ([0.1, 0.0, -0.1, 0.05], [-0.6, -0.61, -0.59], "within", 0.3, FALLS),
        ([0.1, 0.0, -0.1, 0.05], [0.4, 0.2, 0.6], "within", 0.3, UNCERTAIN),
    ],
)
def test_the_rule_on_means(old, new, kind, limit, expected):
    assert claims.outcome(finding(old, new, kind, limit)) == expected


def test_where_every_run_counts_one_run_makes_uncertain_and_all_of_them_fall():
    old = [70.0, 80.0, 90.0]
    for new, expected in (([60, 95, 99], STANDS), ([40, 95, 99], UNCERTAIN), ([40, 30, 20], FALLS)):
        assert claims.outcome(finding(old, new, "above", 50, "every")) == expected


def test_of_shares_the_interval_is_wilsons():
    low, high = claims.ends([100.0] * 3 + [0.0] * 7, "share")
    assert (low, high) == pytest.approx((10.7789, 60.3222), abs=1e-3)  # Wilson 1927, of 3 in 10
    mostly = [100.0] * 38 + [0.0] * 2
    for new, expected in (([100] * 9 + [0], STANDS), ([0] * 10, FALLS), ([100] * 4 + [0] * 6, UNCERTAIN)):
        assert claims.outcome(finding(mostly, new, "above", 50, "share")) == expected


def test_the_interval_of_a_mean_is_that_of_the_chapters():
    values = [0.3, 0.7, 0.5, 0.9, 0.2]
    spread = lesson.interval(values)
    assert claims.ends(values) == pytest.approx((spread.low, spread.high))


def test_a_claim_is_as_good_as_its_worst_comparison():
    assert claims.worst([STANDS, STANDS]) == STANDS
    assert claims.worst([STANDS, UNCERTAIN]) == UNCERTAIN
    assert claims.worst([UNCERTAIN, FALLS, STANDS]) == FALLS


def test_a_claim_with_no_room_comes_out_uncertain_by_chance_and_a_clear_one_does_not():
    rng = np.random.default_rng(1)
    scatter = rng.standard_normal(6)
    scatter = (scatter - scatter.mean()) / scatter.std(ddof=1)
    clear, close = (finding([*(mean + scatter)], []) for mean in (8.0, 1.2))
    assert claims.by_chance([clear], [3]) == (0, 0)
    uncertain, falls = claims.by_chance([close], [3])
    assert 0.1 < uncertain < 0.6
    assert falls < 0.05
    both = claims.by_chance([close, close._replace(name="the same again")], [3, 3])
    assert both == (uncertain, falls)  # what varies together is no second occasion


def test_by_chance_agrees_with_a_world_where_the_claim_is_true():
    """Worlds with a true mean and scatter that are known: of those whose stored table shows it, as many come out
    uncertain as `by_chance` says, on average."""
    rng, said, seen = np.random.default_rng(2), [], []
    while len(said) < 150:
        truth = rng.uniform(0, 2)
        old = truth + rng.standard_normal(6)
        one = finding([*old], [])
        if not claims.claimed(*claims.ends(old), "above", 0):
            continue
        said.append(claims.by_chance([one], [3], draws=400)[0])
        new = truth + rng.standard_normal((200, 3))
        seen.append(float((claims.judged(old, new, "above") == 1).mean()))
    assert np.mean(said) == pytest.approx(np.mean(seen), abs=0.06)


# ---- what the claims rest on ----------------------------------------------------------------------------------------


def test_every_chapter_with_an_experiment_is_in_the_ledger():
    assert set(results.chapters_with_experiments(COURSE)) == set(claims.CLAIMS)


@pytest.mark.parametrize("chapter", claims.CLAIMS)
def test_on_the_stored_table_the_comparisons_say_what_the_verdict_cell_printed(chapter):
    printed = claims_page.verdicts(claims_page.executed(COURSE, "en", chapter))
    assert len(printed) == len(claims.CLAIMS[chapter])
    for (holds, _), claim in zip(printed, claims.CLAIMS[chapter], strict=True):
        found = claims.read(claim)
        assert all(claims.claimed(*claims.ends(one.values, one.by), one.kind, one.limit) for one in found) == holds


def as_new(claim: Any, leave_out: int = -1) -> pd.DataFrame:
    """Rows as `tools/claims.py` writes them, which repeat what some stored seeds have measured."""
    made, needs = [], [(name, one) for name, settings in claim.needs.items() for one in settings]
    for place, (name, setting) in enumerate(needs):
        if place == leave_out:
            continue
        table = faces.rows(claims.stored(name), setting).drop(columns=[*setting, "settings_hash", "device", "torch"])
        seeds = claims.seeds_of(name, setting)
        for old, new in zip(sorted(table.index.unique()), seeds, strict=False):
            runs = table.loc[[old]]
            runs = (runs if name == "03_softmax" else runs.iloc[-1:]).dropna(axis=1)
            numbers = {n: [*map(float, runs[n])] if len(runs) > 1 else float(runs[n].iloc[0]) for n in runs}
            row = {"chapter": name, "setting": claims.words(setting), "seed": new, "numbers": claims.rounded(numbers)}
            made.append(row)
    return pd.DataFrame(made, columns=["chapter", "setting", "seed", "numbers"])


@pytest.mark.parametrize(("chapter", "place"), EVERY)
def test_a_claims_rows_give_each_comparison_its_new_seeds(chapter, place):
    claim = claims.CLAIMS[chapter][place]
    again = as_new(claim)
    found = claims.read(claim, again)
    for one in found:
        assert len(one.new) == claims.new_seeds(chapter, one), one.name
        assert len(one.old) == len(one.values) - len(one.new)
    assert claims.complete(claim, again)
    assert not claims.complete(claim, again.iloc[:-1])
    without = claims.read(claim, as_new(claim, leave_out=0))
    assert any(not a.new.equals(b.new) for a, b in zip(without, found, strict=True))  # it is needed


def ints(value: Any) -> set[int]:
    """All whole numbers in nested settings."""
    if isinstance(value, dict):
        return set().union(*map(ints, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(ints, value))
    return {value} if isinstance(value, int) and not isinstance(value, bool) else set()


def test_no_table_and_no_chapter_has_used_the_new_seeds():
    used: set[int] = set()
    for path in (COURSE / "results").glob("*.csv"):
        table = pd.read_csv(path)
        if path.stem != "claims" and "seed" in table:
            used |= set(table["seed"])
    for module in claims.MODULES.values():
        used |= ints(module.SETTINGS)
    assert not used & set(claims.BLOCK)
    assert len(used) > 100


def test_the_rows_of_tune_are_not_run_again():
    for _, setting, _ in claims.grid():
        assert "tune" not in (setting.get("split"), setting.get("stage"))


def test_a_run_is_the_chapters_own_and_comes_back_from_the_table_as_it_was():
    setting = claims.MODULES["09_lgm"].arms(2)["L-GM"]
    row = runner.measure("09_lgm", setting, claims.SEEDS[0], "smoke")
    assert runner.current(row)
    assert not runner.current(row | {"settings_hash": "another"})
    back = claims.of_chapter(pd.DataFrame([row]), "09_lgm").iloc[0]
    for name, value in claims.MODULES["09_lgm"].run(setting, claims.SEEDS[0], "smoke").items():
        assert back[name] == pytest.approx(value, rel=1e-4)
    assert {name: back[name] for name in setting} == setting


def test_the_table_goes_on_where_it_was_stopped_and_drops_what_is_stale(tmp_path):
    path, done = tmp_path / "claims.csv", []

    def work(name: str, setting: dict[str, Any], seed: int) -> dict[str, Any]:
        done.append(seed)
        if len(done) == 2:
            raise KeyboardInterrupt
        return {"chapter": name, "setting": claims.words(setting), "seed": seed, "settings_hash": "now"}

    cells = {("09_lgm", claims.words({"a": 1}), seed): ("09_lgm", {"a": 1}, seed) for seed in claims.SEEDS}
    fresh = lambda row: row["settings_hash"] == "now"  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        results.fill(path, cells, runner.KEY, work, fresh)
    assert [*pd.read_csv(path)["seed"]] == [claims.SEEDS[0]]
    results.fill(path, cells, runner.KEY, work, fresh)
    assert done == [claims.SEEDS[0], claims.SEEDS[1], claims.SEEDS[1], claims.SEEDS[2]]
    assert [*pd.read_csv(path)["seed"]] == [*claims.SEEDS]
    results.fill(path, cells, runner.KEY, lambda *cell: work(*cell) | {"settings_hash": "later"}, lambda row: False)
    assert set(pd.read_csv(path)["settings_hash"]) == {"later"}


def test_stored_rows_are_of_the_chapters_settings_and_are_asked_for():
    table = claims_page.rerun(COURSE)
    asked = {(name, claims.words(setting), seed) for name, setting, seed in claims.grid()}
    assert set(table[list(runner.KEY)].itertuples(index=False, name=None)) <= asked
    assert all(runner.current(row) for row in table[["chapter", "settings_hash"]].to_dict("records"))


# ---- the page -------------------------------------------------------------------------------------------------------


def page(language: str) -> str:
    return (COURSE / language / "claims.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", claims_page.LANGUAGES)
def test_the_page_is_up_to_date(language):
    assert claims_page.render(page(language), COURSE, language) == page(language), "python tools/claims.py --page"


def test_both_languages_have_the_same_figures_and_sections():
    rows = [[re.findall(r"[−+]?\d+\.\d+", row) for row in page(one).split("\n") if row.startswith("| [")] for one in
            claims_page.LANGUAGES]  # fmt: skip
    assert rows[0] == rows[1]
    assert page("en").count("\n## ") == page("zh").count("\n## ")


def test_chinese_names_of_comparisons_leave_no_english_word_and_no_stray_blank():
    kept = re.compile("AUC|AUROC|EER|FAR|FRR|TAR|[A-Z]\\w*Face|MV|[Ss]oftmax|SupCon|Circle|GM|detach")
    for chapter, place in EVERY:
        for one in claims.read(claims.CLAIMS[chapter][place]):
            name = claims_page.named(one.name, claims_page.WORDS["zh"])
            words = set(re.findall(r"[A-Za-z]{2,}", name))
            assert all(map(kept.fullmatch, words)), (chapter, one.name, words)
            assert not re.search(r"[，：；] | [，：；]", name), (chapter, name)


def test_a_claim_is_quoted_in_the_words_of_its_chapter():
    for language, first, last in (("en", "Margins that ask", "at $s = 32$."), ("zh", "在目标夹角", "时也如此。")):
        said = claims_page.claim(claims_page.executed(COURSE, language, "13_margins"))
        assert said.startswith(first)
        assert said.endswith(last)
        assert "**" not in said


def test_figures_are_written_with_the_digits_that_mean_something():
    words = claims_page.WORDS["en"]
    assert claims_page.interval(pd.Series([0.42, 0.44, 0.40]), "mean", words) == "+0.42\u00a0±\u00a00.05"
    assert claims_page.interval(pd.Series([-30.0, -25.0, -35.0]), "mean", words) == "−30.0\u00a0±\u00a012.4"
    assert claims_page.interval(pd.Series([0.0, 100.0] * 10), "share", words) == "50\u00a0[30,\u00a070]"
    assert claims_page.interval(pd.Series([6.2, 8.71]), "every", words) == "6.2 to 8.7"


def test_a_fall_is_shown_first_and_named(monkeypatch):
    one = claims.CLAIMS["13_margins"][0]
    again = as_new(one)
    arcface = again["setting"].str.contains('"arcface"') & (again["chapter"] == "13_margins")
    worse = again["numbers"].map(lambda text: json.dumps({k: v + (k == "eer") for k, v in json.loads(text).items()}))
    again.loc[arcface, "numbers"] = worse[arcface]  # ArcFace's EER a hundred points higher: the claim is false here
    monkeypatch.setattr(claims, "CLAIMS", {"13_margins": [one]})
    (line,) = claims_page.lines(again)
    assert line.outcome == FALLS
    text = claims_page.part([line], COURSE, "en")
    assert "CosFace − ArcFace, s 8 | > 0 |" in text
    assert "**falls**" in text
    assert "standing 0, uncertain 0, fallen 1" in claims_page.count([line], COURSE, "en")


def test_a_marker_that_names_no_section_is_refused():
    with pytest.raises(ValueError, match="sections: found amiss"):
        claims_page.render("<!-- claims:typo -->\n<!-- /claims -->", COURSE, "en")
