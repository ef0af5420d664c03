"""A pytest plugin: kernels of notebooks are forked from one process that has imported the large libraries already.

    python -m pytest -p tools.forked_kernels --nbval-lax --nbval-current-env course/en

Importing torch, pandas, SciPy and Matplotlib takes longer than many a chapter runs, and nbval starts a kernel for each.
A forked kernel is a process of its own, like any other: nothing is defined in it that the notebook did not define, and
it imports `facelearn` afresh. Where Python has no fork server (Windows), and on macOS, whose libraries do not bear a
fork, kernels start as usual.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from importlib.metadata import EntryPoint
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

COURSE = Path(__file__).resolve().parents[1] / "course"
IMPORTED = ["torch", "matplotlib.pyplot", "seaborn", "pandas", "scipy.stats", "sklearn.datasets", "ipykernel.kernelapp"]


class Started:
    """The process of a kernel, with the methods of `subprocess.Popen` that a provisioner calls."""

    stdin = stdout = stderr = None

    def __init__(self, process: ForkServerProcess) -> None:
        self._process, self.pid = process, process.pid
        self.kill, self.terminate = process.kill, process.terminate

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self.pid is not None
        os.kill(self.pid, number)


class ForkedProvisioner(LocalProvisioner):
    """Starts a kernel by a fork."""

    process: Any = None  # a `Started`, in place of a Popen

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        process = multiprocessing.get_context("forkserver").Process(
            target=kernel, args=(arguments, kwargs["cwd"], kwargs["env"])
        )
        process.start()
        self.process = Started(process)
        self.pid = self.pgid = process.pid  # `kernel` leads a session of its own
        return self.connection_info


def kernel(arguments: list[str], folder: str | None, environment: dict[str, str]) -> None:
    """What the forked process does: what `python -m ipykernel_launcher` does in that folder and environment."""
    os.setsid()
    os.chdir(folder or ".")
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = ["", *(path for path in sys.path if Path(path) != COURSE)]  # without what pytest put there
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance(argv=arguments)


if sys.platform == "linux":
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # Matplotlib asks at its import
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTED)
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["forked"] = EntryPoint("forked", f"{__name__}:ForkedProvisioner", factory.GROUP_NAME)
    factory.default_provisioner_name = "forked"
