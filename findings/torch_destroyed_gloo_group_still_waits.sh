#!/usr/bin/env bash
# torch 2.13.0: destroy_process_group and shutdown leave a gloo group's connections open while anything refers to it.
#
# Seen: of two gloo processes one waits in all_reduce, the other gives up: it calls shutdown() on the group and then
# dist.destroy_process_group(), without an error, and is_initialized() is False. Yet the first goes on waiting, for as
# long as any variable of the second refers to the group; a module in DistributedDataParallel does, and so does a
# traceback. In the moment when the last reference goes, the wait ends with "Connection closed by peer".
# Expected: that the connections close when the group is destroyed, as they do if nothing else refers to it. Known to
# its authors: a shutdown of gloo groups that does something is asked for in issue 130345 of pytorch/pytorch.
# Why it matters: `finally: dist.destroy_process_group()` is the usual way to let the others of a job go on when one
# fails. Whoever catches the error and keeps its process alive, in a test or a notebook, lets them wait for the group's
# timeout, half an hour; what ends the wait is the end of the process, or of every reference.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat >"$folder/ranks.py" <<'END'
import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

HELD = 8  # seconds


def work(rank, store, held):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", f"file://{store}", timedelta(minutes=2), world_size=2, rank=rank)
    dist.barrier()
    if rank == 0:
        began, ended = time.monotonic(), "all_reduce went through"
        try:
            dist.all_reduce(torch.ones(1))
        except RuntimeError as error:
            ended = str(error).split("] ", 1)[-1][:25]
        waited = time.monotonic() - began
        print(f"the other {'still refers' if held else 'does not refer'} to it: {waited:.1f} s, {ended}", flush=True)
        assert ended == "Connection closed by peer", "the behaviour has changed"
        assert HELD < waited < HELD + 8 if held else waited < HELD, "the behaviour has changed"
        dist.destroy_process_group()
        return
    time.sleep(1)
    group = dist.group.WORLD if held else None
    dist.group.WORLD.shutdown()
    dist.destroy_process_group()
    assert not dist.is_initialized()
    time.sleep(HELD)
    del group
    time.sleep(2 * HELD)


if __name__ == "__main__":
    print("torch", torch.__version__)
    for held in (False, True):
        mp.spawn(work, (f"{os.path.dirname(__file__)}/store{held}", held), nprocs=2)
END
"$folder/venv/bin/python" "$folder/ranks.py"
