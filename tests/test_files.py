"""A file is there whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facelearn.files import whole, write_whole


@pytest.mark.parametrize("alone", [False, True])
def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    target = tmp_path / "a.png"
    write_whole(target, b"old", alone=alone)

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_disk)
        with pytest.raises(OSError, match="no space left"):
            write_whole(target, b"new", alone=alone)
    with pytest.raises(TypeError), whole(target, alone=alone, sync=True) as file:
        file.writelines([b"ne", "w"])  # type: ignore[list-item]
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    write_whole(target, "新", alone=alone, sync=True)
    assert target.read_text(encoding="utf-8") == "新"
    assert target.stat().st_mode & 0o444 == 0o444  # for everyone to read


def test_two_writers_at_once_both_succeed_and_a_single_one_clears_up_after_killed_ones(tmp_path: Path) -> None:
    with whole(tmp_path / "a") as one, whole(tmp_path / "a") as other:
        one.write(b"one")
        other.write(b"other")
    assert (tmp_path / "a").read_bytes() == b"one"
    (tmp_path / ".a.part").write_bytes(b"what a killed process left, which is longer")
    write_whole(tmp_path / "a", b"new", alone=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
