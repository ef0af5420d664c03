"""ORL, the AT&T Database of Faces: 40 people x 10 images, 92 x 112 pixels, grey, taken 1992 to 1994. 4 MB.

    python data_scripts/orl.py                                # fetch and unpack it
    python data_scripts/orl.py --from ~/Downloads/att.zip     # an archive on this machine: zip or tar, any name
    python data_scripts/orl.py --from ~/Downloads/orl_faces   # or a folder with s1/1.pgm ... s40/10.pgm

Terms: free for research; credit AT&T Laboratories Cambridge, and cite Samaria and Harter, "Parameterisation of a
stochastic model for human face identification", 1994. These are real people: keep the images to yourself.
Archives of it differ, the images do not: what is checked is the contents of the 400 files, not the archive.

Then:  facelearn.data.ORL("data/orl/orl_faces")
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from data_scripts import _fetch
from data_scripts._fetch import File, Stop

ADDRESSES = (
    "https://www.cl.cam.ac.uk/Research/DTG/attarchive/pub/data/att_faces.zip",
    "http://www.cl.cam.ac.uk/research/dtg/attarchive/pub/data/att_faces.zip",
)
# SHA-256 of the lines "<SHA-256 of the file>  sN/M.pgm", sorted by name: computed from a copy of the set.
CONTENTS = "6ed153ff46fa026cdbfa0eed846b6ec0be19e006b3547ff5d19c26a082b3b97b"
NAME = re.compile(r"(?:.*/)?(s\d{1,2}/\d{1,2}\.pgm)")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")
LIMIT = 32 << 20


def contents(folder: Path) -> str:
    """One hash for all images of a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.glob("s*/*.pgm")}
    lines = (f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def inside(name: str) -> str | None:
    """`att_faces/s1/1.pgm` -> `s1/1.pgm`; None for what is no image of the set."""
    found = NAME.fullmatch(name)
    return found[1] if found else None


def fill(folder: Path, source: Path) -> None:
    """Bring the images of an archive, or of a folder with either, into an empty folder, and check them."""
    images = {inside(p.relative_to(source).as_posix()): p for p in source.rglob("*.pgm")} if source.is_dir() else {}
    for name, path in images.items():
        if name:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / name)
    if not images:
        archives = [p for p in sorted(source.glob("*")) if p.suffix in ARCHIVES] if source.is_dir() else [source]
        for archive in archives[:1]:
            _fetch.unpack(archive, folder, LIMIT, inside)
    if contents(folder) != CONTENTS:
        count = len(list(folder.glob("s*/*.pgm")))
        raise ValueError(f"{source}: found {count} images that are not the published ones, expected 400 that are")


def main() -> None:
    args = _fetch.arguments(__doc__, "orl").parse_args()
    with _fetch.working_in(args.to) as folder:
        target = folder / "orl_faces"
        if target.is_dir() and contents(target) == CONTENTS:
            print("orl_faces: already there, 400 images as published")
        else:
            with _fetch.whole(target) as partial:
                bring(partial, folder, args.sources, args.timeout)
            print("orl_faces: unpacked, 400 images as published")
    print(f"Complete: {target}")


def bring(partial: Path, folder: Path, sources: list[str], timeout: float) -> None:
    """Fill the folder from the first source or address that holds the set."""
    problems = []
    for source in sources or ADDRESSES:
        try:
            if "://" in source:
                file = File("att_faces.zip", (source,), None, limit=LIMIT)
                fill(partial, _fetch.fetch(file, folder, timeout=timeout))
            else:
                fill(partial, Path(source).expanduser())
            return
        except (Stop, ValueError, FileNotFoundError) as error:
            problems.append(str(error))
            print(f"  {error}", flush=True)
            for path in partial.iterdir():
                shutil.rmtree(path)
    raise Stop("no source holds the set; bring an archive yourself and name it with --from")


if __name__ == "__main__":
    _fetch.run(main)
