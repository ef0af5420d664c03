"""Checkpoints of class-parallel losses that resume on another number of ranks.

    save_sharded("runs/17", nn.ModuleDict({"net": ddp.module, "loss": head}), optimizer, extra={"epoch": 3})
    extra = load_sharded("runs/17", nn.ModuleDict({"net": net, "loss": head}), optimizer)

What two ranks have written is read by three, or by one that holds the whole head and has no process group, and the
other way round: to the last bit, and with the optimiser's state. `torch.distributed.checkpoint` cuts and joins; in the
files a class is one row `(K·d,)`, so that its sub-centres stay together whatever the number of ranks.

    folder/index.json                                     which files belong together, and their hashes
    folder/shards-<token>/shard-00001-....safetensors     one file a rank: its classes, and some of what all ranks share

Torch's usual storage unpickles its metadata, and so runs whatever a stranger's file tells it to; these files are
safetensors and JSON alone. The index is replaced last and in one step: up to then an older checkpoint of the folder
counts. Missing and damaged files are refused, where torch would silently leave the rows they held as they were. Not
part of `facelearn.losses` itself: `from facelearn.losses.sharding import ...`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from facelearn.files import write_whole
from facelearn.losses.base import Loss
from facelearn.losses.margin import MarginHead

T = TypeVar("T")
Groups = list[dict[str, Any]]
FORMAT = 1


def save_sharded(
    folder: str | os.PathLike[str], module: nn.Module, optimizer: Optimizer | None = None, extra: Any = None
) -> None:
    """Write the parameters and buffers of `module` and the optimiser's state; all ranks of its process group call this.

    Args:
        folder: made if there is none, on a file system that all ranks see. It holds one checkpoint, the last.
        module: a loss, or whatever holds nets and losses. Class-parallel heads are cut up among the ranks; of the rest
            all ranks hold the same. A net goes in without its DistributedDataParallel, as `ddp.module`. If no loss in
            it has a process group, one process calls this alone.
        optimizer: of parameters of `module`.
        extra: what else to keep, anything that JSON can hold: the epoch, margins that warm up.

    Raises:
        ValueError: of two process groups, parameters from elsewhere, or optimiser state that cannot be cut up.
        OSError: the folder cannot be written. Both on all ranks; the older checkpoint stays.
    """
    folder, group = Path(folder), group_of(module)
    tensors = together(lambda: {n: as_stored(*e) for n, e in entries(module, optimizer).items()}, group)
    meta = {"format": FORMAT, "optimizer": together(lambda: settings(module, optimizer), group), "extra": extra}
    together(lambda: json.dumps(meta, default=float), group)  # refused before anything is written
    shards = folder / f"shards-{everyone(secrets.token_hex(8), group)[0]}"
    try:
        transfer(dcp.save, tensors, dcp.HuggingFaceStorageWriter(str(shards), save_distributed=True), group)
        hashes = together(lambda: hashes_of(sorted(shards.iterdir()), group), group)
    except BaseException:
        shutil.rmtree(shards, ignore_errors=True)
        raise
    meta["hashes"] = {name: value for part in everyone(hashes, group) for name, value in part.items()}
    together(lambda: commit(shards, meta) if rank_in(group) == 0 else None, group)


def load_sharded(folder: str | os.PathLike[str], module: nn.Module, optimizer: Optimizer | None = None) -> Any:
    """Read into `module` and `optimizer` what `save_sharded` wrote, on any number of ranks; gives back its `extra`.

    Args:
        module, optimizer: built anew, with the same names and shapes as those written; see `save_sharded`. Without an
            optimizer its state stays in the file.

    Raises:
        ValueError: no checkpoint, a damaged one, or one of other names, shapes, types or optimiser; on all ranks, and
            before anything has been changed.
    """
    folder, group = Path(folder), group_of(module)
    index = together(lambda: read_index(folder, group), group)
    reader = dcp.HuggingFaceStorageReader(str(folder / index["shards"]))

    def prepare() -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
        stored = in_files(reader)
        state = empty_state(module, optimizer, index["optimizer"], stored)
        wanted = {name: as_stored(*entry) for name, entry in entries(module, None).items()}
        compare(folder, {n: (t.shape, t.dtype) for n, t in wanted.items()}, stored)
        heads = heads_of(module)
        return wanted | {
            f"optimizer.{n}.{k}": as_stored(v, heads.get(n)) for n in state for k, v in state[n].items()
        }, state

    tensors, state = together(prepare, group)
    transfer(dcp.load, tensors, reader, group)
    if optimizer is not None:
        restore(module, optimizer, index["optimizer"]["groups"], state)
    return index["extra"]


# --- what is stored -------------------------------------------------------------------------------------------------


def group_of(module: nn.Module) -> ProcessGroup | None:
    """The process group of the losses in it."""
    if any(isinstance(m, DistributedDataParallel) for m in module.modules()):
        raise ValueError("module=DistributedDataParallel: expected the net inside it, `ddp.module`")
    groups = {m.process_group for m in module.modules() if isinstance(m, Loss) and m.process_group is not None}
    if len(groups) > 1:
        raise ValueError(f"process_group={len(groups)} different ones in module: expected one")
    return groups.pop() if groups else None


def heads_of(module: nn.Module) -> dict[str, MarginHead]:
    """The heads, by the names of their weights."""
    modules = module.named_modules(remove_duplicate=False)
    return {f"{path}.weight".removeprefix("."): m for path, m in modules if isinstance(m, MarginHead)}


def entries(module: nn.Module, optimizer: Optimizer | None) -> dict[str, tuple[Tensor, MarginHead | None]]:
    """Every tensor to keep, and the head whose rows it holds."""
    heads = heads_of(module)
    found: dict[str, tuple[Tensor, MarginHead | None]] = {}
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(f"module.{name}={type(value).__name__}: expected a tensor")
        found[f"module.{name}"] = value, heads.get(name)
    names: dict[Tensor, str] = {p: name for name, p in module.named_parameters()}
    for p, state in optimizer.state.items() if optimizer else ():
        for key, value in state.items():
            name, head = f"optimizer.{names[p]}.{key}", heads.get(names[p])
            if value is None:
                continue
            if not isinstance(value, Tensor) or (head and value.ndim > 0 and value.shape != p.shape):
                shown = tuple(value.shape) if isinstance(value, Tensor) else value
                raise ValueError(f"{name}={shown}: expected a number or a tensor like the weight, to cut up by classes")
            found[name] = value, head
    return found


def as_stored(value: Tensor, head: MarginHead | None) -> Tensor:
    """A view as the files have it: of a head's rows the share of the whole `(C, K·d)`, a class a row."""
    value = value.detach()
    if head is None or value.ndim == 0:
        return value
    rows = value.view(-1, head.num_subcenters * head.embedding_dim)  # (n, K·d)
    if head.process_group is None:
        return rows
    mesh = DeviceMesh.from_group(head.process_group, value.device.type)
    shape = torch.Size((head.num_classes, rows.shape[1]))
    return DTensor.from_local(rows, mesh, [Shard(0)], run_check=False, shape=shape, stride=(rows.shape[1], 1))


def settings(module: nn.Module, optimizer: Optimizer | None) -> dict[str, Any] | None:
    """Kind and groups of an optimiser; for its parameters their names."""
    if optimizer is None:
        return None
    names = {p: name for name, p in module.named_parameters()}
    if any(p not in names for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "optimizer=of parameters from elsewhere: expected those of module, which holds nets and losses"
        )
    groups = [group | {"params": [names[p] for p in group["params"]]} for group in optimizer.param_groups]
    return {"kind": type(optimizer).__name__, "groups": groups}


def empty_state(
    module: nn.Module,
    optimizer: Optimizer | None,
    written: dict[str, Any] | None,
    stored: dict[str, tuple[torch.Size, torch.dtype]],
) -> dict[str, dict[str, Tensor]]:
    """Room for the stored state of an optimiser, by parameter and name; refuses another optimiser."""
    here = settings(module, optimizer)
    if optimizer is None or here is None:
        return {}
    if written is None:
        raise ValueError(f"optimizer={here['kind']}: expected None, the checkpoint was written without one")
    told = [{"kind": o["kind"], "params": [g["params"] for g in o["groups"]]} for o in (written, here)]
    if told[0] != told[1]:
        raise ValueError(f"optimizer={told[1]}: expected, as in the checkpoint, {told[0]}")
    parameters, heads = dict(module.named_parameters()), heads_of(module)
    state: dict[str, dict[str, Tensor]] = {}
    for path, (size, dtype) in stored.items():
        kind, _, rest = path.partition(".")
        name, _, key = rest.rpartition(".")
        if kind == "optimizer":
            like = parameters[name]
            shape = like.shape if name in heads and len(size) else size
            state.setdefault(name, {})[key] = torch.empty(
                shape, dtype=dtype, device=like.device if len(size) else "cpu"
            )
    return state


def restore(module: nn.Module, optimizer: Optimizer, groups: Groups, state: dict[str, dict[str, Tensor]]) -> None:
    order = [name for group in groups for name in group["params"]]
    now = optimizer.state_dict()["param_groups"]
    read = [{k: tuple(v) if isinstance(v, list) else v for k, v in g.items() if k != "params"} for g in groups]
    merged = [present | past for present, past in zip(now, read, strict=True)]
    optimizer.load_state_dict({"state": {order.index(n): s for n, s in state.items()}, "param_groups": merged})


# --- files ----------------------------------------------------------------------------------------------------------


def commit(shards: Path, meta: dict[str, Any]) -> None:
    """From here on the new files count; what older checkpoints left is removed."""
    text = json.dumps(meta | {"shards": shards.name}, default=float)
    try:
        write_whole(shards.with_name("index.json"), text, alone=True, sync=True)
    except BaseException:
        shutil.rmtree(shards, ignore_errors=True)
        raise
    for older in shards.parent.glob("shards-*"):
        if older != shards:
            shutil.rmtree(older, ignore_errors=True)


def read_index(folder: Path, group: ProcessGroup | None) -> dict[str, Any]:
    """The index, once the files are known to be what it says; every rank looks at a share of them."""
    path = folder / "index.json"
    if not path.exists():
        raise ValueError(f"folder={str(folder)!r}: expected a checkpoint of save_sharded, found no index.json")
    try:
        index = json.loads(path.read_text("utf-8"))
        written, shards, hashes = index["format"], folder / index["shards"], dict(index["hashes"])
        inside = re.fullmatch("shards-[0-9a-f]+", index["shards"]) is not None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}=damaged ({error!r}): expected what save_sharded wrote") from error
    if written != FORMAT or not inside:
        raise ValueError(f"{path}=format {written}, {shards}: expected format {FORMAT} with its files beside it")
    present = {file.name for file in shards.glob("*")}
    if present != set(hashes):
        raise ValueError(f"{shards}=damaged, {len(present & set(hashes))} of its files: expected all {len(hashes)}")
    for name, found in hashes_of([shards / name for name in sorted(hashes)], group).items():
        if found != hashes[name]:
            raise ValueError(f"{shards / name}=damaged: expected content that matches its hash")
    return index


def hashes_of(files: list[Path], group: ProcessGroup | None) -> dict[str, str]:
    """Of this rank's share of the files."""
    found = {}
    for path in files[rank_in(group) :: 1 if group is None else group.size()]:
        with open(path, "rb") as file:
            found[path.name] = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return found


def in_files(reader: dcp.HuggingFaceStorageReader) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Whole shape and type of all that is stored, by name."""
    found = reader.read_metadata().state_dict_metadata.items()
    return {name: (t.size, t.properties.dtype) for name, t in found if isinstance(t, dcp.TensorStorageMetadata)}


def compare(folder: Path, wanted: dict[str, Any], stored: dict[str, Any]) -> None:
    stored = {name: entry for name, entry in stored.items() if name.startswith("module.")}
    differ = [n for n in sorted({*wanted, *stored}) if wanted.get(n) != stored.get(n)]
    if differ:
        there, here = (
            ", ".join(f"{n.removeprefix('module.')} {describe(d.get(n))}" for n in differ[:4]) for d in (stored, wanted)
        )
        raise ValueError(f"module={here}: expected, as in {folder}, {there}")


def describe(entry: tuple[torch.Size, torch.dtype] | None) -> str:
    return "missing" if entry is None else f"{tuple(entry[0])} {entry[1]}"


# --- ranks ----------------------------------------------------------------------------------------------------------


def rank_in(group: ProcessGroup | None) -> int:
    return 0 if group is None else group.rank()


def everyone(value: T, group: ProcessGroup | None) -> list[T]:
    """What every rank has."""
    if group is None:
        return [value]
    values: list[Any] = [None] * group.size()
    dist.all_gather_object(values, value, group=group)
    return values


def together(step: Callable[[], T], group: ProcessGroup | None) -> T:
    """A step that every rank takes for itself; where it fails on one, all raise."""
    problem: Exception | None = None
    try:
        result = step()
    except Exception as error:
        problem = error
    told = everyone(None if problem is None else f"{problem}", group)
    if problem is not None:
        raise problem
    for rank, text in enumerate(told):
        if text is not None:
            raise ValueError(f"rank {rank} failed: {text}")
    return result


def transfer(action: Callable[..., Any], tensors: dict[str, Tensor], storage: Any, group: ProcessGroup | None) -> None:
    """`dcp.save` or `dcp.load`, which fail on all ranks together, in an exception that `except Exception` misses."""
    where = "storage_writer" if action is dcp.save else "storage_reader"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is .*single process", UserWarning)
        try:
            action(tensors, process_group=group, no_dist=group is None, **{where: storage})
        except CheckpointException as error:
            raise OSError(f"{storage.path}: {error}") from error
