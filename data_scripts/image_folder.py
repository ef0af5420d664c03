"""A folder of images of your own, one folder per person: check it, and prepare it for training.

    python data_scripts/image_folder.py photos                                    # check: who, how many, what is wrong
    python data_scripts/image_folder.py photos --to faces --size 112              # middle square, 112 x 112
    python data_scripts/image_folder.py photos --to faces --landmarks points.txt  # aligned by five points, 112 x 112
    python data_scripts/image_folder.py photos --to faces --size 112 --least 5    # people with five images or more

The layout is `photos/<person>/<image>`, as torchvision's ImageFolder has it: JPEG, PNG, PGM, PPM or BMP. The check
reads every image to its end and names each that cannot be read and why, files that are no images, people without
images, and images that are there twice, byte by byte (the same image under two people spoils both). It changes nothing.
Prepared images are PNG, in `faces/images/<person>/`; images that cannot be read are left out and named. A copy that
was interrupted goes on where it stopped; an image that was changed or removed in the source is so in the copy, too.

Landmarks: lines `person/image.jpg x1 y1 ... x5 y5`, in the order left eye, right eye, nose, left and right corner of
the mouth, as they stand in the upright picture (EXIF followed). No detector comes with this project.

Before you start: have the people agreed? In many places pictures of faces may be processed only with consent.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from data_scripts import _fetch
from data_scripts._fetch import Stop

SHOWN = 20  # of each kind of complaint


@dataclass
class Report:
    """What a folder holds."""

    images: dict[Path, str] = field(default_factory=dict)  # relative, those that can be read: SHA-256
    sizes: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # files that are no images, or in the wrong place
    empty: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    @property
    def people(self) -> Counter[str]:
        return Counter(image.parent.name for image in self.images)

    def show(self) -> None:
        people, counts = self.people, sorted(self.people.values())
        print(f"{len(self.images):,} images of {len(people):,} people")
        if counts:
            middle = statistics.median(counts)
            print(f"images per person: {counts[0]} to {counts[-1]}, median {middle:g}, {counts.count(1):,} with one")
            print("sizes: " + ", ".join(f"{size} ({n:,})" for size, n in self.sizes.most_common(5)))
        for what, found in (
            ("cannot be read", self.unreadable),
            ("no images, or not in the folder of a person", self.others),
            ("people without an image", self.empty),
            ("there twice", self.twice),
        ):
            if found:
                print(f"{what}: {len(found):,}")
                print("\n".join(f"  {line}" for line in found[:SHOWN]) + ("\n  ..." if len(found) > SHOWN else ""))


def main() -> None:
    parser = _fetch.arguments(__doc__, None, mirrors=False)
    parser.add_argument("source", type=Path, help="the folder with a folder per person")
    parser.add_argument("--size", type=int, metavar="N", help="middle square of each image, N x N pixels")
    parser.add_argument("--landmarks", type=Path, metavar="FILE", help="align by these to 112 x 112 instead")
    parser.add_argument("--least", type=int, default=1, metavar="N", help="leave out people with fewer images")
    args = parser.parse_args()
    if args.size is not None and not 1 <= args.size <= 4096:
        parser.error(f"--size: found {args.size}, expected 1 to 4096")
    if args.to and (args.size is None) == (args.landmarks is None):
        parser.error("--to goes with one of --size and --landmarks")
    if not args.source.is_dir():
        raise Stop(f"{args.source}: no such folder")
    report = examine(args.source)
    report.show()
    if args.to:
        prepare(report, args.source, args.to, args.size, args.landmarks, args.least)
    if not report.images or (report.unreadable and not args.to):
        raise Stop("found nothing to use" if not report.images else "some images cannot be read; see above")


def examine(source: Path) -> Report:
    """Look at every file below a folder. Hidden files are passed over, links are not followed."""
    from facelearn.data.files import IMAGE_SUFFIXES, open_image

    report, seen = Report(), dict[str, Path]()
    folders = sorted(p for p in source.iterdir() if p.is_dir() and not p.is_symlink() and p.name[0] != ".")
    paths = [p for p in sorted(source.rglob("*")) if not any(part[0] == "." for part in p.relative_to(source).parts)]
    for path in _fetch.progress([p for p in paths if p.is_symlink() or not p.is_dir()], "reading"):
        name = path.relative_to(source)
        if path.is_symlink() or not path.is_file() or len(name.parts) != 2 or path.suffix.lower() not in IMAGE_SUFFIXES:
            report.others.append(str(name))
            continue
        data = path.read_bytes()
        try:
            image = open_image(data, str(name))
        except ValueError as error:
            report.unreadable.append(str(error))
            continue
        report.images[name] = hashlib.sha256(data).hexdigest()
        report.sizes[f"{image.width} x {image.height}"] += 1
        first = seen.setdefault(report.images[name], name)
        if first != name:
            report.twice.append(f"{first} and {name}")
    report.empty = [p.name for p in folders if p.name not in report.people]
    return report


def prepare(report: Report, source: Path, target: Path, size: int | None, landmarks: Path | None, least: int) -> None:
    """Write the readable images, cropped or aligned, as `target/images/<person>/<image>.png`."""
    from facelearn.data.align import read_landmarks

    people = report.people
    chosen = [name for name in report.images if people[name.parent.name] >= least]
    by_target = Counter(name.with_suffix(".png") for name in chosen)
    clashes = [str(name) for name, count in by_target.items() if count > 1]
    if clashes:
        raise Stop(f"{source}: found {clashes[0]} under several endings, expected one image of that name")
    points = None if landmarks is None else read_landmarks(landmarks)
    lost = [name.as_posix() for name in chosen if points is not None and name.as_posix() not in points]
    if lost:
        missing = f"{', '.join(lost[:3])} ({len(lost):,} are missing)"
        raise Stop(f"{landmarks}: found no line for {missing}, expected one for each image")
    if source.resolve() == (target / "images").resolve():
        raise Stop(f"{source}: found the folder that --to {target} writes to, expected another one")
    settings = {"source": source.resolve().name, "size": size, "least": least, "landmarks": digest(landmarks)}
    now = {name.with_suffix(".png").as_posix(): report.images[name] for name in chosen}
    with _fetch.working_in(target):
        removed = renew(target, settings, now)
        new = 0
        for name in _fetch.progress(chosen, "writing"):
            path = target / "images" / name.with_suffix(".png")
            if not path.is_file():
                where = f"{landmarks}: {name.as_posix()}"
                _fetch.write(path, converted(source / name, size, points and points[name.as_posix()], where))
                new += 1
    there = f", {len(chosen) - new:,} were there already" if new < len(chosen) else ""
    gone = f", {removed:,} that the source no longer has removed" if removed else ""
    print(f"{target}: {len(chosen):,} images of {len({n.parent for n in chosen}):,} people{there}{gone}")


def digest(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def renew(target: Path, settings: dict[str, Any], now: dict[str, str]) -> int:
    """Write down how a copy is made and of what (SHA-256), and remove from it what is no longer so: how many are gone.

    Stops where the folder holds a copy that was made otherwise, or images of which nothing is known.
    """
    mark, images = target / "prepared.json", target / "images"
    before: Any = {}
    if mark.is_file():
        found = _fetch.record(mark)
        before = found.pop("made of", None)
        if found != settings or not isinstance(before, dict):
            raise Stop(f"{target} holds a copy made in another way (see {mark.name}); choose another folder with --to")
    elif images.exists():
        raise Stop(f"{images}: found no {mark.name} beside it that says how it was made; choose another --to")
    removed = 0
    for path in list(images.glob("*/*.png")):
        name = path.relative_to(images).as_posix()
        if before.get(name) != now.get(name):
            path.unlink()
            removed += name not in now
            with contextlib.suppress(OSError):  # there are other images of that person
                path.parent.rmdir()
    _fetch.write_record(mark, {**settings, "made of": now})
    return removed


def converted(path: Path, size: int | None, points: Any, where: str) -> bytes:
    """The image as PNG: aligned where there are landmarks, else its middle square, resized with antialiasing.

    where: of the landmarks, for an error.
    """
    from PIL import Image

    from facelearn.data.align import align_image
    from facelearn.data.files import open_image

    image = open_image(path.read_bytes(), str(path))
    if points is not None:
        image = align_image(image, points, where)
    elif size is not None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


if __name__ == "__main__":
    _fetch.run(main)
