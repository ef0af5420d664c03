"""Every way in which a download goes wrong, against a server on this machine."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_scripts import _fetch
from data_scripts._fetch import File, Stop, fetch, working_in
from tests.data_scripts.conftest import ROOT, Server, tree

DATA = random.Random(0).randbytes(300_000)
SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()
THIRD = len(DATA) // 3 + 1


def get(server: Server, folder: Path, *behaviours: str, size: int | None = len(DATA), timeout: float = 2.0) -> Path:
    server.files["set.bin"] = DATA
    urls = tuple(server.url(behaviour, "set.bin") for behaviour in behaviours)
    with working_in(folder):
        return fetch(File("set.bin", urls, SHA, size), folder, timeout=timeout)


def ranges(server: Server) -> list[str | None]:
    return [asked for _, asked in server.asked]


@pytest.mark.parametrize("behaviour", ["plain", "ranges", "redirect", "gzip", "chunked"])
@pytest.mark.parametrize("size", [len(DATA), None])
def test_arrives(server: Server, tmp_path: Path, behaviour: str, size: int | None) -> None:
    path = get(server, tmp_path, behaviour, size=size)
    assert path == tmp_path / "set.bin"
    assert tree(tmp_path) == {"set.bin": DATA}
    assert [p.name for p in (tmp_path / ".fetch").iterdir()] == ["lock"]


def test_second_run_asks_nobody(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = get(server, tmp_path, "ranges")
    before = path.stat().st_mtime_ns
    get(server, tmp_path, "ranges")
    assert len(server.asked) == 1
    assert path.stat().st_mtime_ns == before
    assert "already there" in capsys.readouterr().out


def test_dropped_connection_goes_on_and_no_byte_comes_twice(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path, "drop")
    assert ranges(server) == [None, f"bytes={THIRD}-", f"bytes={2 * THIRD}-"]
    assert server.sent.total() == len(DATA)


def test_server_without_ranges_starts_again_and_the_next_mirror_helps(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path, "dropplain", "ranges")
    assert ranges(server)[:2] == [None, f"bytes={THIRD}-"]
    assert len(server.asked) == 1 + _fetch.TRIES + 1
    assert ranges(server)[-1] == f"bytes={THIRD}-"  # the last one goes on from what the first gave
    assert server.sent.total() == (1 + _fetch.TRIES) * THIRD + len(DATA) - THIRD


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("404", "the server says 404 Not Found"),
        ("500", "the server says 500"),
        ("wrong", "not the published file (wrong hash)"),
        ("short", "announces 299,999 bytes, the published file has 300,000"),
        ("long", "announces 300,010 bytes"),
        ("endless", "sends more than 300,000 bytes"),
        ("loop", "30 redirects"),
    ],
)
def test_next_mirror(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], behaviour: str, reason: str
) -> None:
    get(server, tmp_path, behaviour, "ranges")
    assert tree(tmp_path) == {"set.bin": DATA}
    assert reason in capsys.readouterr().out
    assert server.asked[-1] == ("/ranges/set.bin", None)  # nothing of the bad answer was kept


@pytest.mark.parametrize("behaviour", ["short", "long", "wrong"])
def test_lies_about_the_length_where_none_is_known(server: Server, tmp_path: Path, behaviour: str) -> None:
    get(server, tmp_path, behaviour, "plain", size=None)
    assert tree(tmp_path) == {"set.bin": DATA}


def test_silence_is_a_broken_connection(server: Server, tmp_path: Path) -> None:
    began = time.monotonic()
    get(server, tmp_path, "stall", timeout=0.3)
    assert time.monotonic() - began < 60  # the server's silence lasts that long, twice
    assert server.sent.total() == len(DATA)


def test_dripping_is_silence(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path, "drip", "ranges", timeout=0.2)  # alone it would take four hours
    assert tree(tmp_path) == {"set.bin": DATA}


def test_another_range_than_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".fetch").mkdir()
    (tmp_path / ".fetch" / "set.bin.part").write_bytes(DATA[:1000])
    get(server, tmp_path, "other", "ranges")
    assert server.asked[-1] == ("/ranges/set.bin", "bytes=1000-")


def test_a_wrong_beginning_from_another_mirror_is_thrown_away(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path, "junkdrop", "ranges")
    assert tree(tmp_path) == {"set.bin": DATA}
    assert server.asked[-1] == ("/ranges/set.bin", None)


@pytest.mark.parametrize("length", [len(DATA), len(DATA) + 5])
def test_a_part_that_is_whole_or_too_long(server: Server, tmp_path: Path, length: int) -> None:
    (tmp_path / ".fetch").mkdir()
    (tmp_path / ".fetch" / "set.bin.part").write_bytes((DATA + bytes(5))[:length])
    get(server, tmp_path, "ranges", size=None)
    assert tree(tmp_path) == {"set.bin": DATA}
    assert server.sent.total() == (0 if length == len(DATA) else len(DATA))


def test_all_mirrors_fail(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Stop) as error:
        get(server, tmp_path, "404", "wrong", "500")
    text = str(error.value)
    assert f"no address gave set.bin ({SHA})" in text
    tried = [line.split(": ", 1)[0].strip() for line in text.splitlines()[1:4]]
    assert tried == [server.url(behaviour, "set.bin") for behaviour in ("404", "wrong", "500")]
    assert "--from" in text
    assert tree(tmp_path) == {}


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9/set.bin"  # the discard port
    server.files["set.bin"] = DATA
    with working_in(tmp_path):
        fetch(File("set.bin", (dead, server.url("plain", "set.bin")), SHA), tmp_path, timeout=1)
    assert tree(tmp_path) == {"set.bin": DATA}


@pytest.mark.parametrize("wrong", [b"", b"something else", DATA[:-1]])
def test_a_wrong_file_in_place_is_replaced_only_by_the_right_one(server: Server, tmp_path: Path, wrong: bytes) -> None:
    (tmp_path / "set.bin").write_bytes(wrong)
    with pytest.raises(Stop):
        get(server, tmp_path, "404")
    assert tree(tmp_path) == {"set.bin": wrong}
    get(server, tmp_path, "plain")
    assert tree(tmp_path) == {"set.bin": DATA}


@pytest.mark.parametrize("form", ["folder", "file", "address", "address of the file"])
def test_sources_replace_the_mirrors(server: Server, tmp_path: Path, form: str) -> None:
    server.files["set.bin"] = DATA
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "set.bin").write_bytes(DATA)
    source = {
        "folder": str(tmp_path / "in"),
        "file": str(tmp_path / "in" / "set.bin"),
        "address": server.url("ranges"),
        "address of the file": server.url("ranges", "set.bin"),
    }[form]
    with working_in(tmp_path / "out"):
        fetch(File("set.bin", (server.url("404", "set.bin"),), SHA), tmp_path / "out", [source])
    assert tree(tmp_path / "out") == {"set.bin": DATA}
    assert [path for path, _ in server.asked] == (["/ranges/set.bin"] if "address" in form else [])


def test_a_source_without_the_file_or_with_another(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "set.bin").write_bytes(b"other")
    file = File("set.bin", ("http://127.0.0.1:9/never-asked",), SHA)
    with working_in(tmp_path / "out"):
        with pytest.raises(Stop, match="wrong hash"):
            fetch(file, tmp_path / "out", [str(tmp_path / "in")])
        with pytest.raises(Stop, match="no such file"):
            fetch(file, tmp_path / "out", [str(tmp_path / "nowhere" / "set.bin")])
    assert tree(tmp_path / "out") == {}


FETCHING = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from data_scripts._fetch import File, fetch, run, working_in
def main():
    with working_in(Path({folder!r})) as folder:
        fetch(File("set.bin", ({url!r},), {sha!r}, {size}), folder, timeout=2)
run(main)
"""


def process(server: Server, folder: Path, behaviour: str, **keywords: object) -> "subprocess.Popen[str]":
    server.files["set.bin"] = DATA
    code = FETCHING.format(
        root=str(ROOT), folder=str(folder), url=server.url(behaviour, "set.bin"), sha=SHA, size=len(DATA)
    )
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords
    )


def test_killed_and_run_again(server: Server, tmp_path: Path) -> None:
    first = process(server, tmp_path, "slow")
    part = tmp_path / ".fetch" / "set.bin.part"
    while not part.exists() or part.stat().st_size < 20_000:
        time.sleep(0.005)
        assert first.poll() is None, first.communicate()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = part.stat().st_size
    assert DATA.startswith(part.read_bytes())
    assert tree(tmp_path) == {}
    get(server, tmp_path, "ranges")
    assert tree(tmp_path) == {"set.bin": DATA}
    assert server.asked[-1][1] == f"bytes={kept}-"
    assert server.sent["ranges"] == len(DATA) - kept
    assert [p.name for p in (tmp_path / ".fetch").iterdir()] == ["lock"]  # pooch's own temporary file is gone, too


def test_two_at_once(server: Server, tmp_path: Path) -> None:
    both = [process(server, tmp_path, "slow") for _ in range(2)]
    outputs = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0], outputs
    assert tree(tmp_path) == {"set.bin": DATA}
    assert len(server.asked) == 1
    assert server.sent.total() == len(DATA)
    assert sum("already there" in out for out, _ in outputs) == 1


def test_the_second_waits_for_the_first(server: Server, tmp_path: Path) -> None:
    with working_in(tmp_path):
        second = process(server, tmp_path, "ranges")
        assert second.stdout is not None
        assert second.stdout.readline() == f"Another process works in {tmp_path}: waiting for it\n"
        assert server.asked == []
    second.communicate(timeout=120)
    assert second.returncode == 0
    assert tree(tmp_path) == {"set.bin": DATA}


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = r"cannot write to .*file.* \(Not a directory\); choose another folder with --to"
    with pytest.raises(Stop, match=message), working_in(tmp_path / "file" / "below"):
        pass


def test_folder_of_somebody_else(tmp_path: Path) -> None:
    """Root may write everywhere, so as root this becomes somebody else for a moment."""
    (tmp_path / "theirs").mkdir(mode=0o555)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        message = r"cannot write to .*theirs.* \(Permission denied\); choose another folder"
        with pytest.raises(Stop, match=message), working_in(tmp_path / "theirs" / "mnist"):
            pass
    finally:
        if root:
            os.seteuid(0)


def test_full_disk(server: Server, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the same error comes from the same call."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    result = process(server, tmp_path, "ranges", preexec_fn=limit)
    _, err = result.communicate(timeout=60)
    assert result.returncode == 1
    assert "no room for set.bin" in err
    assert "Traceback" not in err
    assert (tmp_path / ".fetch" / "set.bin.part").read_bytes() == DATA[:100_000]
    get(server, tmp_path, "ranges")
    assert server.asked[-1][1] == "bytes=100000-"


def test_interrupted(server: Server, tmp_path: Path) -> None:
    def heed() -> None:  # where this runs in the background of a shell, interrupts are ignored, by its children too
        signal.signal(signal.SIGINT, signal.default_int_handler)

    result = process(server, tmp_path, "slow", preexec_fn=heed)
    while not (tmp_path / ".fetch" / "set.bin.part").exists():
        time.sleep(0.005)
        assert result.poll() is None
    result.send_signal(signal.SIGINT)
    _, err = result.communicate(timeout=60)
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert result.returncode == 130
