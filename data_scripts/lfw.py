"""LFW, Labeled Faces in the Wild: 13,233 images of 5,749 people, 250 x 250, with the official lists. 180 MB.

    python data_scripts/lfw.py                                          # images and lists
    python data_scripts/lfw.py --only lists                             # the lists alone
    python data_scripts/lfw.py --from ~/Downloads                       # files that are on this machine
    python data_scripts/lfw.py --landmarks lfw_landmark.txt             # and align to 112 x 112 by five points
    python data_scripts/lfw.py --landmarks FILE --images FOLDER_OR_TAR  # align these images, fetch nothing

Terms: a research benchmark without explicit licence, of photographs from the news. Cite Huang, Ramesh, Berg,
Learned-Miller, UMass Amherst TR 07-49, 2007. Its authors ask that no result on it be taken to show that a system is
fit for commercial use: few women, hardly any children or old people, many ethnicities not at all. Do not publish the
images.

The university's own site is often closed; scikit-learn's copies at figshare hold the same files. people*.txt are on
the university's site alone: where it does not answer, get them elsewhere and name their folder with --from.

Landmarks have to be brought by hand, since nobody publishes a hash of them: `data/lfw_landmark.txt` of the repository
github.com/clcarwin/sphereface_pytorch (MIT), or your own detector's. Lines `Name/Name_0001.jpg x1 y1 ... x5 y5`: left
eye, right eye, nose, left and right corner of the mouth, as they stand in the picture.

Then:  facelearn.data.LFWPairs("data/lfw/pairs.txt", "data/lfw/aligned112")
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from data_scripts import _fetch
from data_scripts._fetch import File, Stop

UMASS = "http://vis-www.cs.umass.edu/lfw/"
FIGSHARE = "https://ndownloader.figshare.com/files/"
# SHA-256 and figshare's numbers: scikit-learn 1.9, sklearn/datasets/_lfw.py; the size (and the same SHA-256):
# TensorFlow Datasets, url_checksums/lfw.txt; the MD5 sums: torchvision, datasets/lfw.py.
IMAGES = File(
    "lfw.tgz",
    (FIGSHARE + "5976018", UMASS + "lfw.tgz"),
    "sha256:055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
    size=180566744,
)
LISTS = [
    File(name, (*(f"{FIGSHARE}{number}" for number in numbers), UMASS + name), known_hash)
    for name, numbers, known_hash in (
        ("pairs.txt", (5976006,), "sha256:ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592"),
        ("pairsDevTrain.txt", (5976012,), "sha256:1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa"),
        ("pairsDevTest.txt", (5976009,), "sha256:7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c"),
        ("people.txt", (), "md5:450f0863dd89e85e73936a6d71a3474b"),
        ("peopleDevTrain.txt", (), "md5:54eaac34beb6d042ed3a7d883e247a21"),
        ("peopleDevTest.txt", (), "md5:e4bf5be0a43b5dcd9dc5ccfcb8fb19c5"),
    )
]
COUNT, PEOPLE, LIMIT = 13233, 5749, 400 << 20
QUALITY = 95  # of the aligned JPEGs


def main() -> None:
    parser = _fetch.arguments(__doc__, "lfw")
    parser.add_argument("--only", choices=("images", "lists"), help="fetch only these")
    parser.add_argument("--landmarks", type=Path, metavar="FILE", help="align by these, into FOLDER/aligned112")
    parser.add_argument("--images", type=Path, metavar="SOURCE", help="folder or archive to align; nothing is fetched")
    args = parser.parse_args()
    if args.images and not args.landmarks:
        parser.error("--images goes with --landmarks: it names what is to be aligned")
    missing = []
    with _fetch.working_in(args.to) as folder:
        if not args.images:
            missing = fetch_all(folder, args.only, args.sources, args.timeout)
        if args.landmarks:
            align_all(folder / "aligned112", args.images or folder / "lfw", args.landmarks)
    if missing:
        raise Stop(f"all the rest is done, but no address gave {', '.join(missing)}; see --help for what to do")
    print(f"Complete: {args.to}")


def fetch_all(folder: Path, only: str | None, sources: list[str], timeout: float) -> list[str]:
    """Fetch what can be had, unpack the images; the names of the lists that no address gave."""
    missing = []
    if only != "images":
        for file in LISTS:
            try:
                _fetch.fetch(file, folder, sources, timeout)
            except Stop:  # each address and what was wrong with it stand above
                missing.append(file.name)
    if only != "lists":
        if complete(folder / "lfw"):
            print(f"lfw: already there, {COUNT:,} images of {PEOPLE:,} people")
        else:
            archive = _fetch.fetch(IMAGES, folder, sources, timeout)
            with _fetch.whole(folder / "lfw") as partial:
                _fetch.unpack(archive, partial, LIMIT, lambda name: name.removeprefix("lfw/"))
                if not complete(partial):
                    found = "{} images of {} people".format(*counts(partial))
                    raise ValueError(f"{archive}: found {found}, expected {COUNT} of {PEOPLE}")
            print(f"lfw: unpacked, {COUNT:,} images of {PEOPLE:,} people; {archive.name} is no longer needed")
    return missing


def counts(folder: Path) -> tuple[int, int]:
    """Number of images that are not empty, and of people."""
    images = [path.parent.name for path in folder.glob("*/*.jpg") if path.stat().st_size]
    return len(images), len(set(images))


def complete(folder: Path) -> bool:
    return counts(folder) == (COUNT, PEOPLE)


def align_all(target: Path, source: Path, landmarks: Path) -> None:
    """Write every image of the source, aligned, as `target/Name/Name_0001.jpg`, and of what it was made beside them."""
    from facelearn.data.align import align_image, read_landmarks
    from facelearn.data.files import open_image

    points, mark = read_landmarks(landmarks), target / "aligned.json"
    made_of = {"landmarks": digest(landmarks.read_bytes()), "quality": QUALITY, "source": contents(source)}
    if target.is_dir():
        number, people = counts(target)
        if not mark.is_file() or _fetch.record(mark) != made_of | {"images": number, "people": people}:
            found = f"{target}: found {number:,} images" + ("" if mark.is_file() else f" and no {mark.name}")
            raise Stop(f"{found}, expected what {source} and {landmarks} give; to make it again, remove the folder")
        print(f"aligned112: already there, {number:,} images; to make it again, remove it")
        return
    with _fetch.whole(target) as partial:
        for name, file in _fetch.progress(photographs(source), "aligning"):
            _fetch.check_name(source, name)
            if name not in points:
                raise ValueError(f"{landmarks}: found no line for {name}, expected one for each image of {source}")
            data = io.BytesIO()
            image = align_image(open_image(file.data, file.where), points[name], f"{landmarks}: {name}")
            image.save(data, "JPEG", quality=QUALITY, subsampling=0)
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_bytes(data.getvalue())
        number, people = counts(partial)
        if not number:
            raise ValueError(f"{source}: found no image Name/Name_0001.jpg, expected at least one")
        _fetch.write_record(partial / mark.name, made_of | {"images": number, "people": people})
    print(f"aligned112: {number:,} images of {people:,} people")


def photographs(source: Path) -> Iterator[tuple[str, Any]]:
    """Name/Name_0001.jpg and the file of every image in a folder or archive."""
    from facelearn.data.files import read_files

    for file in read_files(source, lambda path: path.endswith(".jpg")):
        yield "/".join(file.path.split("/")[-2:]), file


def contents(source: Path) -> str:
    """One hash for all images of a folder or archive."""
    return digest("".join(sorted(f"{digest(file.data)}  {name}\n" for name, file in photographs(source))).encode())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    _fetch.run(main)
