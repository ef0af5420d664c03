"""Checks that several processes make together. All in one set of processes, since starting them is what costs."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

Call = Callable[[Callable[..., None], Path], None]  # (check, folder): a check may want to know more than the folder


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def join(rank: int, world: int, port: int) -> None:
    """Become a rank of a gloo group."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)


def run(checks: Sequence[Callable[..., None]], world: int, folder: Path, call: Call) -> None:
    """Every rank makes the checks in turn. Where one fails its rank ends, and with it the others, which would wait."""
    with suppress(mp.ProcessRaisedException, mp.ProcessExitedException):  # `outcome` tells
        mp.spawn(_work, (world, free_port(), folder, checks, call), nprocs=world)


def _work(rank: int, world: int, port: int, folder: Path, checks: Any, call: Call) -> None:
    join(rank, world, port)
    for check in checks:
        try:
            call(check, folder)
        except BaseException:
            (folder / f"{check.__name__}.{rank}").write_text(traceback.format_exc())
            raise
        (folder / f"{check.__name__}.{rank}").write_text("passed")
    dist.destroy_process_group()


def outcome(folder: Path, check: str, world: int) -> list[str]:
    """What went wrong, by rank; nothing if all passed."""
    files = [folder / f"{check}.{rank}" for rank in range(world)]
    texts = [file.read_text() if file.exists() else "did not come to its end" for file in files]
    return [f"rank {rank}: {text}" for rank, text in enumerate(texts) if text != "passed"]
