"""Kernels forked for nbval: large libraries are there, all else is as in a kernel that was started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
WARM = "import sys; warm = {'torch', 'pandas', 'matplotlib.pyplot'} <= set(sys.modules); print(warm)"
AS_EVER = """import os, pathlib, multiprocessing
assert not any(name == 'facelearn' or name.startswith('facelearn.') for name in sys.modules)
assert pathlib.Path.cwd().name == 'books' and sys.path[0] == ''
assert not any(path.endswith('course') for path in sys.path)
assert os.environ['FACELEARN_BUDGET'] == 'smoke' and os.getsid(0) == os.getpid()
mine = {name for name in globals() if not name.startswith('_')}
print(mine - {'In', 'Out', 'get_ipython', 'exit', 'quit', 'open', 'sys', 'warm', 'os', 'pathlib', 'multiprocessing'})
import matplotlib
print(matplotlib.get_backend())"""


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
def test_a_forked_kernel_is_warm_and_otherwise_as_any(tmp_path, monkeypatch):
    folder = tmp_path / "books"
    folder.mkdir()
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "p"}})
    for source, output in (
        (WARM, "True\n"),
        (AS_EVER, "set()\nmodule://matplotlib_inline.backend_inline\n"),
        ("import time\ntime.sleep(60)", ""),
        ("print(warm)", "True\n"),
    ):
        outputs = [nbformat.v4.new_output("stream", text=output)] if output else []
        book.cells.append(nbformat.v4.new_code_cell(source, outputs=outputs, execution_count=1))
    nbformat.write(book, folder / "book.ipynb")
    monkeypatch.setenv("FACELEARN_BUDGET", "smoke")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tools.forked_kernels", "--nbval", "--nbval-current-env"]
    settings = ["--nbval-cell-timeout=3", "-o", "addopts=", "-p", "no:cacheprovider", str(folder)]
    made = subprocess.run([*command, *settings], capture_output=True, text=True, cwd=ROOT)
    assert "1 failed, 2 passed, 1 xpassed" in made.stdout, made.stdout + made.stderr  # it outlives what is interrupted
    assert "Timeout of 3 seconds exceeded" in made.stdout
