"""A server on this machine that behaves as badly as real ones do, and scripts run as their users run them."""

import contextlib
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from data_scripts import _fetch

ROOT = Path(__file__).resolve().parents[2]
BAD_STATUS = {"404": 404, "500": 500, "503": 503}


@dataclass
class Server:
    """`url("ranges", name)` is the address of `files[name]` as the behaviour "ranges" serves it (see `Handler`)."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range header
    sent: Counter[str] = field(default_factory=Counter)  # bytes of bodies by behaviour

    def url(self, behaviour: str, name: str = "") -> str:
        return f"{self.address}/{behaviour}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Paths are `/<behaviour>/<file>`.

    plain      whole file, no ranges           ranges      ranges, as they should be
    drop       ranges; ends after a third      dropplain   no ranges; ends after a third, every time
    wrong      other bytes, same length        junkdrop    ends after a third, and those bytes are wrong
    redirect   302 to ranges                   loop        302 to itself
    stall      a third, then silence           drip        a byte every 50 ms
    short      announces one byte less         long        announces ten bytes more
    other      206 for another range           endless     no length, never ends
    gzip       calls the file gzip-encoded     chunked     no length, in chunks
    slow       ranges, 20 ms after each 1 %    404, 500 …  that status
    """

    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        state: Server = self.server.state
        _, behaviour, name = self.path.split("/", 2)
        state.asked.append((self.path, self.headers.get("Range")))
        self.close_connection = True
        if behaviour in BAD_STATUS:
            self.send_error(BAD_STATUS[behaviour])
            return
        if behaviour in ("redirect", "loop"):
            self.send_response(302)
            self.send_header("Location", f"/{'ranges' if behaviour == 'redirect' else 'loop'}/{name}")
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        data = state.files[name]
        if behaviour in ("wrong", "junkdrop"):
            data = bytes(b ^ 1 for b in data)
        start = self.start(behaviour)
        if start >= len(data) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with contextlib.suppress(OSError):  # the other side has had enough
            self.body(behaviour, data, start)

    def start(self, behaviour: str) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if found is None or behaviour in ("plain", "dropplain", "wrong", "chunked", "endless"):
            return 0
        return int(found[1])

    def body(self, behaviour: str, data: bytes, start: int) -> None:
        rest = data[start:]
        first = 0 if behaviour == "other" else start
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if behaviour == "gzip":
            self.send_header("Content-Encoding", "x-gzip")
        if behaviour == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif behaviour != "endless":
            self.send_header("Content-Length", str(len(rest) + {"short": -1, "long": 10}.get(behaviour, 0)))
        self.end_headers()
        if behaviour in ("drop", "dropplain", "junkdrop", "stall"):
            self.send(rest[: len(data) // 3 + 1])
            if behaviour == "stall" and len(rest) > len(data) // 3 + 1:
                self.server.stop.wait(60)
        elif behaviour in ("drip", "slow"):
            step = 1 if behaviour == "drip" else max(1, len(data) // 100)
            for i in range(0, len(rest), step):
                self.send(rest[i : i + step])
                time.sleep(0.05 if behaviour == "drip" else 0.02)
        elif behaviour == "chunked":
            for i in range(0, len(rest), 5000):
                block = rest[i : i + 5000]
                self.send(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            self.send(b"0\r\n\r\n")
        elif behaviour == "endless":
            while not self.server.stop.is_set():
                self.send(bytes(1 << 16))
        else:
            self.send(rest)

    def send(self, block: bytes) -> None:
        self.server.state.sent[self.path.split("/")[1]] += len(block)  # before: who has read it all may look at once
        self.wfile.write(block)
        self.wfile.flush()


@pytest.fixture
def server() -> Iterator[Server]:
    http: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.stop = threading.Event()
    http.state = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http.state
    http.stop.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("FACELEARN_DATA", raising=False)


def call(module: ModuleType, *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a script, run in this process: starting torch takes seconds."""
    argv, sys.argv = sys.argv, [f"{module.__name__.split('.')[-1]}.py", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    status: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            _fetch.run(module.main)
    except SystemExit as stop:
        status = stop.code or 0
        if isinstance(status, str):  # as the interpreter does it
            status = 1
            err.write(f"{stop.code}\n")
    finally:
        sys.argv = argv
    return status, out.getvalue(), err.getvalue()


def start(script: str, *arguments: object, **keywords: Any) -> "subprocess.Popen[str]":
    """A script in a process of its own."""
    command = [sys.executable, str(ROOT / "data_scripts" / script), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes, **keywords)


def run(script: str, *arguments: object, **keywords: Any) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a script."""
    process = start(script, *arguments, **keywords)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, the hidden working folder of the scripts left out."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and ".fetch" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}
