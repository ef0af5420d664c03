#!/usr/bin/env bash
# Pillow 13.0.0: the same 16-bit colour picture reads differently as PNG and as PPM, and no read says that half of each
# value is dropped.
#
# Seen: both open in mode RGB, 8 bits a channel, without a warning. PNG keeps the high byte (v // 256), PPM rounds
# (v / 257): 255 of 65535 becomes 0 in one and 1 in the other, and so a quarter of all values. A grey PNG of 16 bits
# opens in mode I;16 and keeps everything. Expected: one rule for two lossless formats.
# Why it matters: a set converted between the two formats is not the same set, by up to one grey level; and whoever means
# to refuse pictures of more than 8 bits by their mode lets the coloured ones through.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'END'
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image


def png(values, channels):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", len(values), 1, 16, 2 if channels == 3 else 0, 0, 0, 0)
    pixels = b"\0" + np.repeat(values, channels).astype(">u2").tobytes()
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def ppm(values):
    return b"P6 %d 1 65535\n" % len(values) + np.repeat(values, 3).astype(">u2").tobytes()


def opened(data):
    image = Image.open(io.BytesIO(data))
    return image.mode, np.array(image).reshape(len(values), -1)[:, 0].tolist()


values = np.arange(65536)
kinds = {"PNG": opened(png(values, 3)), "PPM": opened(ppm(values)), "grey PNG": opened(png(values, 1))}
print("Pillow", PIL.__version__)
for kind, (mode, found) in kinds.items():
    print(kind, mode, {v: found[v] for v in (0, 128, 255, 300, 32896, 65535)})
print("values that differ between PNG and PPM:", sum(a != b for a, b in zip(kinds["PNG"][1], kinds["PPM"][1])))
changed = "the behaviour has changed"
assert kinds["PNG"] == ("RGB", (values // 256).tolist()), changed
assert kinds["PPM"][0] == "RGB", changed
assert max(abs(np.array(kinds["PPM"][1]) - values / 257)) <= 0.5, changed
assert kinds["grey PNG"] == ("I;16", values.tolist()), changed
END
