"""Nets in files: `save_net`, and `load_net`, which needs nothing but the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from facelearn.files import write_whole
from facelearn.models import net_from


def save_net(path: Path, net: nn.Module, words: dict[str, Any], more: dict[str, Any]) -> None:
    """Weights and buffers, and in the header what builds the net again."""
    tensors = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    write_whole(path, save(tensors, metadata={"facelearn": json.dumps({"net": words} | more, sort_keys=True)}))


def load_net(path: str | os.PathLike[str]) -> nn.Module:
    """The net in a `model.safetensors`, in `eval()` mode. ValueError where the file is damaged or something else."""
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        net = net_from(_header(path)["net"])
        net.to(next(t.dtype for t in tensors.values() if t.is_floating_point()))
        net.load_state_dict(tensors)
    except FileNotFoundError:
        raise ValueError(f"weights: no file {path}") from None
    except (
        SafetensorError, KeyError, TypeError, AttributeError, StopIteration, RuntimeError, json.JSONDecodeError
    ) as error:  # fmt: skip
        raise ValueError(f"weights: {path} is damaged, or no net written by facelearn ({error!r})") from error
    return net.eval()


def _header(path: str | os.PathLike[str]) -> dict[str, Any]:
    with safe_open(str(path), framework="pt") as file:
        return json.loads((file.metadata() or {})["facelearn"])


def image_size(path: str | os.PathLike[str]) -> int:
    """Pixels per side of the images that the net in this file was trained on; call `load_net` first."""
    return int(_header(path).get("image_size", 32))
