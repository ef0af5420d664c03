"""The experiments of all chapters: each has its whole table, finite numbers, a live seed that nothing was chosen on."""

from __future__ import annotations

import functools
import importlib
import json
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from experiments import protocol

from facelearn import lesson
from tools import chapters, results

COURSE = Path(__file__).resolve().parents[2] / "course"
NAMES = list(results.chapters_with_experiments(COURSE))
Pair = tuple[dict[str, Any], int]


@functools.lru_cache
def loaded(name: str) -> tuple[ModuleType, list[Pair], pd.DataFrame]:
    """An experiment, the pairs (setting, seed) of its grid, and its stored table; stale or missing tables raise."""
    experiment = results.load(COURSE, name)
    return experiment, results.plan(experiment, name), lesson.results(name, experiment.SETTINGS)


def key(setting: dict[str, Any], seed: int) -> str:
    return json.dumps([{field: str(value) for field, value in setting.items()}, seed], sort_keys=True)


def stored(name: str) -> list[str]:
    """The (setting, seed) of each row of a table."""
    _, pairs, table = loaded(name)
    fields = list(pairs[0][0])
    return [key({field: row[field] for field in fields}, row["seed"]) for row in table.to_dict("records")]


def measured(row: dict[str, Any], pairs: list[Pair]) -> set[str]:
    """The columns that hold a measured number in this row."""
    return {name for name, value in row.items() if pd.notna(value)} - {*pairs[0][0], *results.OWN_COLUMNS}


@pytest.mark.parametrize("name", NAMES)
def test_the_table_holds_every_run_of_the_grid_once_and_no_other(name):
    _, pairs, table = loaded(name)
    assert set(stored(name)) == {key(*pair) for pair in pairs}
    assert not table.drop(columns="seconds").duplicated().any()
    inside = {"epoch", "test"} & set(table)  # a run with a row for each look at its net, or for each test of it
    assert inside or len(table) == len(pairs)


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_gives_finite_numbers_for_the_columns_of_the_table(name):
    """One run for each set of columns that the table has (each stage of an experiment measures its own)."""
    experiment, pairs, table = loaded(name)
    by_key: dict[str, set[str]] = {}
    for where, row in zip(stored(name), table.to_dict("records"), strict=True):
        by_key[where] = by_key.get(where, set()) | measured(row, pairs)
    kinds = {frozenset(by_key[key(*pair)]): pair for pair in reversed(pairs)}
    for columns, pair in kinds.items():
        found = experiment.run(*pair, "smoke")
        rows = found if isinstance(found, list) else [found]
        assert set().union(*rows) == columns, pair
        assert all(math.isfinite(value) for row in rows for value in row.values()), pair


@pytest.mark.parametrize("name", [name for name in NAMES if (COURSE / "en" / f"{name}.md").is_file()])
def test_the_live_seed_is_fresh(name):
    experiment, pairs, _ = loaded(name)
    live = experiment.SETTINGS["live_seed"]
    assert live not in {seed for _, seed in pairs}, "it stands in the table already: draw another"
    assert live not in {protocol.SEARCH_SEED, *protocol.FINAL_SEEDS}, "settings were chosen with it"


@pytest.mark.parametrize("name", chapters.names(COURSE))
def test_a_chapter_calls_only_what_its_experiments_have(name):
    text = (COURSE / "en" / f"{name}.md").read_text(encoding="utf-8")
    imported = re.findall(r"^from experiments import (\w+)(?: as (\w+))?$", text, re.M)
    missing = [
        f"{module}.{name}"
        for module, alias in imported
        for name in re.findall(rf"\b{alias or module}\.(\w+)", text)
        if not hasattr(importlib.import_module(f"experiments.{module}"), name)
    ]
    assert not missing
