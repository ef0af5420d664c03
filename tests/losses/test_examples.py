"""The examples in the docstrings of the losses run, and give what they show."""

import doctest
import importlib
import pkgutil

import pytest
import torch

from facelearn import losses

MODULES = [f"facelearn.losses.{found.name}" for found in pkgutil.iter_modules(losses.__path__)]
#: what a reader has imported
IMPORTED = {"torch": torch, **{name: getattr(losses, name) for name in losses.__all__}}


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    torch.manual_seed(0)
    found = doctest.testmod(importlib.import_module(module), extraglobs=IMPORTED)
    assert found.failed == 0


@pytest.mark.parametrize("kind", [*losses.REGISTRY.values(), losses.Joint], ids=lambda kind: kind.__name__)
def test_every_loss_has_an_example_of_at_least_three_lines(kind):
    (test,) = doctest.DocTestFinder(recurse=False).find(kind, kind.__name__)
    assert len(test.examples) >= 3
    assert kind.__name__ in "".join(example.source for example in test.examples)
