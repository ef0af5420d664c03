"""MNIST: 70,000 handwritten digits, 28 x 28 pixels, grey, in four files of 11.6 MB together.

    python data_scripts/mnist.py                       # fetch them
    python data_scripts/mnist.py --from ~/Downloads    # take files that are on this machine

Terms: LeCun, Cortes and Burges made it (1998) from data of NIST; commonly given as CC BY-SA 3.0. Cite them.
Safe to run again: what is there and right is left alone, a broken download goes on where it stopped.

Then:  facelearn.data.MNIST("data/mnist", "train")
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from data_scripts import _fetch
from data_scripts._fetch import File

# torchvision's mirror, the Common Visual Data Foundation's, and the authors' own, which is often closed.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
# SHA-256 of the files whose MD5 sums torchvision publishes (torchvision/datasets/mnist.py), and their sizes.
HASHES = {
    "train-images-idx3-ubyte.gz": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9912422),
    "train-labels-idx1-ubyte.gz": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28881),
    "t10k-images-idx3-ubyte.gz": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1648877),
    "t10k-labels-idx1-ubyte.gz": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4542),
}
FILES = [
    File(name, tuple(mirror + name for mirror in MIRRORS), f"sha256:{digest}", size)
    for name, (digest, size) in HASHES.items()
]


def main() -> None:
    args = _fetch.arguments(__doc__, "mnist").parse_args()
    with _fetch.working_in(args.to) as folder:
        for file in FILES:
            _fetch.fetch(file, folder, args.sources, args.timeout)
    print(f"Complete. Read it with facelearn.data.MNIST({str(args.to)!r})")


if __name__ == "__main__":
    _fetch.run(main)
