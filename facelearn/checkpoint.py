"""The state of a training in one file, written whole or not at all, and read without unpickling anything."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from facelearn.distributed import Ranks, Shard
from facelearn.files import check_writable, write_whole

Record = dict[str, Any]


class Checkpoint:
    """The state of a training in one safetensors file (tensors, and JSON in its header; nothing is ever unpickled).

    It holds net and loss (parameters and buffers), the optimiser's state, the states of `torch.Generator`s that modules
    own, plain attributes that hooks have changed since the start (a margin that warms up), the loss scale of fp16, the
    records of the epochs so far, and the settings. Learning rate and the draws of an epoch are functions of the epoch,
    so there is nothing else to keep. A hash over all of it gives a damaged file away.

    With several ranks the first one writes, and shards of class weights are put together: the file is that of a single
    process, and another number of processes may resume from it. All ranks must see the same file. (For heads too large
    to be put together in one process's memory, `losses/sharding.py` writes a file a rank.)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        net: nn.Module,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        settings: dict[str, Any],
        ranks: Ranks | None = None,
    ) -> None:
        self.path = Path(path)
        self.parts = {"net": net, "loss": loss}
        self.optimizer, self.scaler = optimizer, scaler
        self.ranks = ranks or Ranks(net, loss)
        self.shards = self._shards()
        self.attributes = _attributes(self.parts)
        shapes = {key: self._whole_shape(key, t) for key, t in self._state().items()}
        public = {key: value for key, value in self.attributes.items() if "._" not in key}
        self.settings = json.loads(json.dumps({"format": 1} | settings | public | shapes))
        self.ranks.together(lambda: check_writable(self.path, "checkpoint"))

    def resume(self) -> list[Record]:
        """Put the file's state into net, loss and optimiser; return its records ([] if there is no file yet)."""
        there = self.path.exists()
        self.ranks.agree(f"checkpoint {self.path}: number of such files", int(there))
        if not there:
            return []
        tensors, meta = self._read()
        self.ranks.agree(f"checkpoint {self.path}: number of epochs in it", len(meta["records"]))
        self.ranks.together(lambda: self._compare(meta["settings"]))
        tensors = {key: self._own_rows(key, t) for key, t in tensors.items()}
        for key, part in self.parts.items():
            part.load_state_dict(_below(key, tensors))
        for key, generator in _generators(self.parts).items():
            generator.set_state(tensors[f"generator.{key}"])
        for key, value in meta["attributes"].items():
            path, _, name = key.rpartition(".")
            module = _modules(self.parts)[path]
            # past `Loss.__setattr__`: settings that have to agree with each other do so again once all of them are set
            vars(module)[name] = tuple(value) if isinstance(getattr(module, name, None), tuple) else value
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _below("optimizer", tensors).items():
            index, name = key.split(".", 1)
            if value.shape == (parameter := parameters[int(index)]).shape:
                # In the parameter's own memory layout: another layout may round differently in the last bit.
                value = torch.empty_like(parameter, dtype=value.dtype, device="cpu").copy_(value)
            state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        self.scaler.load_state_dict(meta["scaler"])
        return meta["records"]

    def write(self, records: list[Record]) -> None:
        """Write the present state: first beside the old file, then in its place."""
        tensors = self._state()
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        tensors |= {f"generator.{key}": g.get_state() for key, g in _generators(self.parts).items()}
        for key in sorted(tensors):  # the same order on every rank
            if shard := self._shard(key, tensors[key]):
                tensors[key] = self.ranks.whole(tensors[key].detach(), shard)
        self.ranks.together(lambda: self._write(tensors, records))

    def _write(self, tensors: dict[str, Tensor], records: list[Record]) -> None:
        tensors = {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in tensors.items()}
        now = _attributes(self.parts)
        meta = {
            "settings": self.settings,
            "attributes": {k: v for k, v in now.items() if k not in self.attributes or v != self.attributes[k]},
            "scaler": self.scaler.state_dict(),
            "records": records,
        }
        text = json.dumps(meta, default=float)  # a 0-d tensor or numpy number in a record is a number
        content = save(tensors, metadata={"facelearn": text, "hash": content_hash(tensors, text)})
        write_whole(self.path, content, alone=True, sync=True)

    def _state(self) -> dict[str, Tensor]:
        return {f"{k}.{n}": t for k, part in self.parts.items() for n, t in part.state_dict().items()}

    def _shards(self) -> dict[str, Shard]:
        """Of which tensors this rank holds some rows: `loss.weight`, and `optimizer.5` for all of its state."""
        parameters = [id(p) for group in self.optimizer.param_groups for p in group["params"]]
        found = {}
        for name, shard in self.ranks.shards.items():
            found[f"loss.{name}"] = shard
            parameter = self.parts["loss"].get_parameter(name)
            if id(parameter) in parameters:
                found[f"optimizer.{parameters.index(id(parameter))}"] = shard
        return found

    def _shard(self, key: str, tensor: Tensor) -> Shard | None:
        owner = key.rpartition(".")[0] if key.startswith("optimizer.") else key
        return self.shards.get(owner) if tensor.ndim else None

    def _whole_shape(self, key: str, tensor: Tensor) -> list[int]:
        shard = self._shard(key, tensor)
        return [shard.rows, *tensor.shape[1:]] if shard else list(tensor.shape)

    def _own_rows(self, key: str, tensor: Tensor) -> Tensor:
        shard = self._shard(key, tensor)
        return tensor[shard.first : shard.first + shard.size] if shard else tensor

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        try:
            with safe_open(str(self.path), framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
                header = file.metadata() or {}
        except SafetensorError as error:
            raise ValueError(
                f"checkpoint {self.path}: damaged or no checkpoint ({error}); delete it to start anew"
            ) from error
        if "facelearn" not in header:
            raise ValueError(f"checkpoint {self.path}: a safetensors file, but not written by fit; choose another path")
        if header.get("hash") != content_hash(tensors, header["facelearn"]):
            raise ValueError(
                f"checkpoint {self.path}: damaged (its content does not match its hash); delete it to start anew"
            )
        return tensors, json.loads(header["facelearn"])

    def _compare(self, stored: dict[str, Any]) -> None:
        differ = [k for k in {**stored, **self.settings} if stored.get(k) != self.settings.get(k)]
        if differ:
            told = "; ".join(f"{k}: {stored.get(k)} there, {self.settings.get(k)} here" for k in differ[:4])
            more = f"; and {len(differ) - 4} more" if len(differ) > 4 else ""
            raise ValueError(
                f"checkpoint {self.path}: written with other settings ({told}{more}). Use the same settings with"
                " net and loss built anew, or another path, or delete the file"
            )


def content_hash(tensors: dict[str, Tensor], text: str = "") -> str:
    """Of names, types, shapes and bytes of tensors, and of a text."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for key in sorted(tensors):
        digest.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        digest.update(tensors[key].cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _below(key: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{key}."): t for name, t in tensors.items() if name.startswith(f"{key}.")}


def _modules(parts: dict[str, nn.Module]) -> dict[str, nn.Module]:
    return {f"{k}.{n}".rstrip("."): module for k, part in parts.items() for n, module in part.named_modules()}


def _attributes(parts: dict[str, nn.Module]) -> dict[str, Any]:
    """Plain attributes (numbers, words, and tuples of them) of all modules: `loss.margin` → .5; and their classes."""
    found: dict[str, Any] = {}
    for path, module in _modules(parts).items():
        found[f"{path} is"] = type(module).__qualname__
        for name, value in vars(module).items():
            plain = all(isinstance(v, bool | int | float | str | None) for v in _items(value))
            if plain and name not in ("training", "_is_full_backward_hook"):
                found[f"{path}.{name}"] = list(value) if isinstance(value, tuple | list) else value
    return found


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, tuple | list) else (value,)


def _generators(parts: dict[str, nn.Module]) -> dict[str, torch.Generator]:
    modules = _modules(parts).items()
    return {f"{p}.{n}": v for p, m in modules for n, v in vars(m).items() if isinstance(v, torch.Generator)}
