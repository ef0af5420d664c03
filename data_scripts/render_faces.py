"""Synthetic faces: draw a set of people who do not exist, as a folder of PNGs with tables and a data sheet.

    python data_scripts/render_faces.py                                        # the standard training set, 6,000 images
    python data_scripts/render_faces.py --standard open --to data/open         # the standard set for the final measure
    python data_scripts/render_faces.py --identities 5000 --images 40 --size 112 --to data/large
    python data_scripts/render_faces.py --long-tail 200 2 --label-noise 0.1 --to data/crooked
    python data_scripts/render_faces.py --nuisance pose=0 occlusion=0.5 --fixed glasses=0 --to data/masked
    python data_scripts/render_faces.py --check data/open                      # the pixels of its data sheet?

Writes <label>/<identity>_<shot>.png, images.csv (every nuisance of every image), traits.csv (every trait of every
person), settings.json, a contact sheet, and README.md, the data sheet: all parameters, version of the renderer, counts,
a hash of all pixels, what the set is and is not for, licence. The same settings give the same files.
A set may be larger than memory. The folder appears when it is complete; interrupted, it goes on where it stopped.

No real person is in these pictures, no one had to be asked, and nothing measured on them holds for real faces.
`--difficulty`, `--nuisance` and the rest are arguments of facelearn.data.SyntheticFaces, which draws the same set in
memory; the groups of nuisance are facelearn.data.GROUPS, the single ones facelearn.data.NUISANCE.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from data_scripts import _fetch
from data_scripts._fetch import Stop

PLAIN = {  # option: type and what it says; the name with "_" is the argument of SyntheticFaces
    "identities": (int, "number of people"),
    "images": (int, "images per person"),
    "size": (int, "pixels per side, 32 to 112"),
    "seed": (int, "another number, other people"),
    "difficulty": (float, "strength of all nuisance: 0 passport photographs, 1 hard"),
    "first-shot": (int, "number of the first image: other images of the same people"),
    "kinship": (float, "0 to 1: families of look-alikes"),
    "family-size": (int, "people in a family"),
    "label-noise": (float, "share of wrong labels"),
}


def main() -> None:
    parser = _fetch.arguments(__doc__, "faces", mirrors=False)
    parser.add_argument("--standard", choices=("fit", "tune", "open"), default="fit", help="the set to start from")
    parser.add_argument("--split", choices=("fit", "tune", "open"), help="world of people; different ones share nobody")
    for name, (kind, told) in PLAIN.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N" if kind is int else "X", help=told)
    parser.add_argument("--long-tail", nargs=2, type=int, metavar=("MOST", "LEAST"), help="images per person instead")
    parser.add_argument("--nuisance", nargs="+", type=pair, default=[], metavar="GROUP=X", help="strength of one group")
    parser.add_argument("--fixed", nargs="+", type=pair, default=[], metavar="NAME=X", help="one nuisance, everywhere")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="compare a set with its data sheet; draw nothing")
    args = parser.parse_args()
    if args.check:
        check(args.check)
        return
    settings = chosen(args)
    with _fetch.working_in(args.to.parent):
        draw(args.to, settings)


def pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def chosen(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of SyntheticFaces."""
    from facelearn.data import STANDARD, long_tail

    settings = STANDARD[args.standard] | {"split": args.split or args.standard}
    given = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in PLAIN}
    given["images_per_identity"] = given.pop("images")
    settings |= {name: value for name, value in given.items() if value is not None}
    if args.long_tail:
        settings["images_per_identity"] = long_tail(settings["identities"], *args.long_tail).tolist()
    return settings | {name: dict(getattr(args, name)) for name in ("nuisance", "fixed") if getattr(args, name)}


def draw(target: Path, settings: dict[str, Any]) -> None:
    """Export the set, unless this very set is there."""
    from facelearn.data.export import complete, export_faces
    from facelearn.data.face_renderer import VERSION

    there = target / "settings.json"
    if there.is_file():
        if _fetch.record(there) != json.loads(json.dumps(complete(settings))):
            raise Stop(f"{target} holds a set with other settings ({there}); choose another folder with --to")
        drawn = told(target, r"renderer of `facelearn`, version (\w+)")
        if drawn != str(VERSION):
            raise Stop(f"{target}: found a set by version {drawn} of the renderer, expected {VERSION}; move it away")
        rows = (target / "images.csv").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
        images = [target / row.split(",")[0] for row in rows]
        lost = [path for path in images if not path.is_file() or not path.stat().st_size]
        if lost or not images:
            names = f"{lost[0].relative_to(target)} ({len(lost):,} are missing)" if lost else "an image in images.csv"
            raise Stop(f"{target}: found no {names}, expected the whole set; remove it and run again")
        print(f"{target}: already there, {len(images):,} images")
        return
    export_faces(target, settings, progress=sys.stderr.isatty())
    print(f"{target}: drawn; what it is stands in {target / 'README.md'}")


def check(folder: Path) -> None:
    """Stop where the pixels of a set are not those of its data sheet."""
    from facelearn.data.export import pixels_digest

    expected = told(folder, r"SHA-256 `([0-9a-f]{64})`")
    found = pixels_digest(folder)
    if found != expected:
        raise Stop(f"{folder}: found pixels with SHA-256 {found}, expected {expected} as in its data sheet")
    print(f"{folder}: the pixels are those of the data sheet")


def told(folder: Path, what: str) -> str:
    """What the data sheet of a set says."""
    sheet = folder / "README.md"
    found = re.search(what, sheet.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise Stop(f"{sheet}: found no {what!r}, expected a data sheet of this script")
    return found[1]


if __name__ == "__main__":
    _fetch.run(main)
