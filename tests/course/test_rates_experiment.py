"""The chapters' decisive rows at better learning rates: all of them, at the rate that is named, read by one rule."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import faces, rates

from facelearn import lesson
from tools import results

COURSE = Path(__file__).resolve().parents[2] / "course"
PAIRS = list(rates.grid())
CHAPTERS = list(rates.MODULES)


def table() -> pd.DataFrame:
    return lesson.results("rates", rates.SETTINGS)


def test_the_table_holds_every_run_of_the_grid_once_and_no_other():
    plan = results.plan(rates, "rates")
    assert results.is_current(COURSE / "results" / "rates.csv", plan, lesson.settings_hash(rates.SETTINGS))
    assert len(table()) == len(plan)


def test_no_seed_of_a_chapter_or_of_the_protocol_is_used_again():
    used = {seed for _, seed in PAIRS}
    for module in rates.MODULES.values():
        assert not used & {module.SETTINGS["live_seed"], *(seed for _, seed in module.grid())}
    assert not used & {rates.protocol.SEARCH_SEED, *rates.protocol.FINAL_SEEDS}


def test_every_row_but_its_rate_stands_in_the_table_of_its_chapter():
    for wanted, _ in PAIRS:
        module, setting = rates.MODULES[wanted["chapter"]], json.loads(wanted["setting"])
        assert setting in [json.loads(json.dumps(one)) for one, _ in module.grid()], wanted


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_row_is_trained_at_its_rate_by_its_chapter(chapter, monkeypatch):
    seen = []
    for module in {faces, *rates.MODULES.values()}:
        if hasattr(module, "fit"):
            fit = module.fit
            monkeypatch.setattr(module, "fit", lambda *a, fit=fit, **k: (seen.append(k["lr"]), fit(*a, **k)))
    wanted, seed = next(pair for pair in PAIRS if pair[0]["chapter"] == chapter)
    found = rates.run(wanted | {"lr": 0.0123}, seed, "smoke")
    assert seen == [0.0123]
    assert faces.SETTINGS["training"]["lr"] == rates.protocol.SETTINGS["training"]["lr"] == 4e-3
    stored = table()
    mine = stored[stored["chapter"] == chapter][list(rates.NUMBERS)]
    assert set(found) == set(mine.columns[mine.notna().any()])
    assert all(map(math.isfinite, found.values()))


def test_both_sides_of_a_comparison_are_read_by_the_same_words():
    for pairs in rates.compared(table()).values():
        for before, now in pairs:
            assert before._replace(values=None) == now._replace(values=None)
            assert min(len(before.values), len(now.values)) >= 3
            assert np.isfinite([*before.values, *now.values]).all()


@pytest.mark.parametrize(
    ("kind", "limit", "before", "now", "verdict"),
    [
        ("above", 0.0, 1.0, 0.9, "stands"),
        ("above", 0.0, 1.0, 0.4, "weaker"),
        ("above", 0.0, 1.0, 0.05, "open"),
        ("above", 0.0, 1.0, -0.4, "falls"),
        ("above", 1.0, 9.0, 4.0, "weaker"),
        ("below", 0.0, -1.0, -0.9, "stands"),
        ("below", 0.0, -1.0, -0.4, "weaker"),
        ("below", 0.0, -1.0, 0.9, "falls"),
        ("below", 1.0, 0.1, 0.01, "stands"),  # the claim needs no size
        ("below", 1.0, 0.1, 1.05, "open"),
        ("within", 0.3, 0.1, 0.0, "stands"),
        ("within", 0.3, 0.1, 0.25, "open"),
        ("within", 0.3, 0.1, 0.9, "falls"),
        ("within", 0.3, 0.1, -0.9, "falls"),
    ],
)
def test_the_rule_of_the_verdict(kind, limit, before, now, verdict):
    scatter = np.array([-0.05, 0.0, 0.05])  # ± 0.124
    found = (rates.Finding("", pd.Series(mean + scatter), kind, limit) for mean in (before, now))
    assert rates.verdict(*found) == verdict
