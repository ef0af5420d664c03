#!/usr/bin/env bash
# sqlite-vec 0.1.9: an embedding of zeros in the first place of a `vec0` table makes the thousand people after it
# impossible to find.
#
# Seen: 3,000 people in a table with `distance_metric=cosine`, everyone sought with an embedding that is nearly their
# own, ten answers each. All are among them. With zeros in the first row 1,023 of the other 2,999 are not, in silence;
# with zeros in row 1,025 it is 2,047, everybody in the rows before it too; in row 2, 1,000 or 2,000 nobody. The table
# keeps its rows in chunks of 1,024, and the distance to a row of zeros is NaN: at the head of a chunk it cuts off what
# was found there and before. With the distance L2 nobody is lost. Expected: the same answers wherever the row stands.
# Why it matters: zeros are the usual stand-in for "no face found", and a first row of zeros is a usual placeholder. A
# test with ten rows shows a strange first row and no more; the search misses a third of the people, and only some.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sqlite-vec==0.1.9 apsw==3.54.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import apsw
import numpy as np
import sqlite_vec

people, size = 3000, 16
draw = np.random.default_rng(0)
faces = draw.normal(size=(people, size)).astype(np.float32)
probes = (faces + 0.01 * draw.normal(size=faces.shape)).astype(np.float32)


def not_found(empty, metric="cosine"):
    """How many people are not among ten answers to their own embedding, with zeros in one row."""
    database = apsw.Connection(":memory:")
    database.enable_load_extension(True)
    database.load_extension(sqlite_vec.loadable_path())
    database.execute(f"create virtual table faces using vec0(embedding float[{size}] distance_metric={metric})")
    with database:
        for person, row in enumerate(faces, start=1):
            stored = np.zeros_like(row) if person == empty else row
            database.execute("insert into faces (rowid, embedding) values (?, ?)", (person, stored.tobytes()))
    lost = 0
    for person, probe in enumerate(probes, start=1):
        query = "select rowid from faces where embedding match ? and k = 10 order by distance"
        answers = [row[0] for row in database.execute(query, (probe.tobytes(),))]
        lost += person != empty and person not in answers
    return lost


version = apsw.Connection(":memory:")
version.enable_load_extension(True)
version.load_extension(sqlite_vec.loadable_path())
print("sqlite-vec, SQLite", *version.execute("select vec_version(), sqlite_version()").fetchone())
lost = {row: not_found(row) for row in (None, 1, 2, 1000, 1025, 2000)}
for row, number in lost.items():
    print(f"zeros in row {row}: {number} of {people - (row is not None)} are not found")
in_l2 = not_found(1, "L2")
print("zeros in row 1, distance L2:", in_l2)
assert lost[None] == lost[2] == lost[1000] == lost[2000] == in_l2 == 0
assert 1000 < lost[1] <= 1023 and 2000 < lost[1025] <= 2047
END
echo "as seen"
