"""Where a training starts from: a run, a net in a file, or weights of insightface's `iresnet`.

start = Start.read("runs/base")                # a run: its net, its class weights, and whose they are
start = Start.read("backbone.pth")             # read by `weights_only`: nothing in it is ever run
start.into_net(net)
known = start.into_loss(loss, 300, names, "folder:people")  # the rows of people who are known there
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facelearn.distributed import shards

#: the file of a run that says who class 0, 1, ... is
PEOPLE = "people.json"


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Args:
        path: where they are from, for messages.
        net: tensors of a net, by name.
        loss: those of a loss; empty where the source has none.
        people: who class 0, 1, ... of that loss is.
        data: the words of the set that a run was trained on.
    """

    path: Path
    net: dict[str, Tensor]
    loss: dict[str, Tensor]
    people: list[str] | None = None
    data: str | None = None

    @classmethod
    def read(cls, path: str | Path) -> Start:
        """A run folder, a .safetensors file, or a .pth or .pt of torch. ValueError where it is none of these."""
        path = Path(path)
        if path.is_dir():
            try:
                return cls._of_run(path)
            except SafetensorError as error:
                raise ValueError(f"from: {path} is damaged ({error}); expected a finished run") from None
        if not path.is_file():
            raise ValueError(f"from: found no {path}; expected a run folder, or a file .safetensors, .pth or .pt")
        found: Any
        try:
            if path.suffix == ".safetensors":
                found = load_file(path)
            else:
                found = torch.load(path, map_location="cpu", weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"from: {path} is damaged, or holds more than weights ({reason})") from None
        if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
            found = found["state_dict"]
        if not (isinstance(found, dict) and found and all(isinstance(value, Tensor) for value in found.values())):
            raise ValueError(f"from: {path} holds a {type(found).__name__}; expected tensors by name")
        return cls(path, {str(name).removeprefix("module."): value for name, value in found.items()}, {})

    @classmethod
    def _of_run(cls, folder: Path) -> Start:
        from facelearn.runs import config, model_file

        stored = load_file(model_file(folder))
        checkpoint = folder / "checkpoint.safetensors"
        whole = load_file(checkpoint) if checkpoint.exists() else {}
        loss = {name.removeprefix("loss."): value for name, value in whole.items() if name.startswith("loss.")}
        people = folder / PEOPLE
        names = json.loads(people.read_text(encoding="utf-8")) if people.exists() else None
        return cls(folder, stored, loss, names, config(folder).data)

    def into_net(self, net: nn.Module) -> None:
        """Copy all of it. ValueError, with a few names, where tensors are missing, foreign, or of another shape."""
        own = net.state_dict()
        counters = {name for name in own if name.endswith("num_batches_tracked")}  # older files have none
        shapes = [f"{name} {tuple(self.net[name].shape)}, here {tuple(own[name].shape)}"
                  for name in own if name in self.net and self.net[name].shape != own[name].shape]  # fmt: skip
        wrong = {
            "missing": sorted(set(own) - set(self.net) - counters),
            "foreign": sorted(set(self.net) - set(own)),
            "of another shape": shapes,
        }
        if any(wrong.values()):
            told = "; ".join(f"{len(v)} {kind} ({listed(v, 3)})" for kind, v in wrong.items() if v)
            raise ValueError(f"from: {self.path} is of another net than this {type(net).__name__}: {told}")
        net.load_state_dict({name: self.net.get(name, value) for name, value in own.items()})

    def into_loss(self, loss: nn.Module, classes: int, people: list[str] | None, data: str) -> int | None:
        """Copy the rows of people who are known by name, for the rest the loss stays as it is; returns how many.

        Without names people are the same where the set has the same words. Where all are the same, and the loss has
        the same tensors, it is copied whole, with its running state; of class weights that are shared out among
        processes this one's. None where there is nothing to copy, or the people cannot be told, or the loss is another
        one.
        """
        same_set = self.people is None and people is None and data == self.data
        if not self.loss or not (same_set or (self.people and people)):
            return None
        if (same_set or people == self.people) and (whole := self._of_rank(loss)):
            loss.load_state_dict(whole)
            return classes
        if shards(loss):
            return None
        here: Sequence[Any] = range(classes) if same_set else people or []
        there = {name: row for row, name in enumerate(range(classes) if same_set else self.people or [])}
        known = [(i, there[name]) for i, name in enumerate(here) if name in there]
        pairs = torch.tensor(known, dtype=torch.int64).view(-1, 2)
        parts = loss.named_modules()
        no_rows = {f"{path}.{name}".lstrip(".") for path, part in parts for name in getattr(part, "no_rows", ())}
        own, copied = loss.state_dict(), False
        for name, value in own.items():
            stored = self.loss.get(name)
            if stored is None or name in no_rows or not value.ndim or stored.shape[1:] != value.shape[1:]:
                continue
            each = len(value) // classes  # rows a class
            if each and len(value) == each * classes and len(stored) == each * len(there):
                value.unflatten(0, (classes, each))[pairs[:, 0]] = stored.unflatten(0, (-1, each))[pairs[:, 1]].to(
                    value
                )
                copied = True
        return len(pairs) if copied else None

    def _of_rank(self, loss: nn.Module) -> dict[str, Tensor]:
        """The tensors of the loss, with this process's class weights; none where it has others, or other shapes."""
        parts = {name: slice(s.first, s.first + s.size) for name, s in shards(loss).items()}
        found = {name: value[parts[name]] if name in parts else value for name, value in self.loss.items()}
        shapes = ({name: value.shape for name, value in state.items()} for state in (found, loss.state_dict()))
        return found if next(shapes) == next(shapes) else {}


def listed(things: Sequence[str], most: int = 5) -> str:
    return ", ".join(things[:most]) + (f" and {len(things) - most:,} more" if len(things) > most else "")
