#!/usr/bin/env bash
# DuckDB 2.0.1, sqlite-vec 0.1.9: an embedding of zeros is the most similar face to everybody, in DuckDB if sorted by
# similarity, in SQLite if sorted by distance.
#
# Seen: a gallery of six people, the row of one of them all zeros. Both databases have NaN for the cosine of such a row,
# and then go by rules of their own. DuckDB takes NaN for the largest number: sorted by `array_cosine_similarity`,
# descending, the empty row is first, and `arg_max` names it; by `array_cosine_distance`, ascending, it is last. SQLite
# turns NaN into NULL and sorts NULL first: by `vec_distance_cosine`, ascending, the empty row is first. Expected: the
# same place in all of these, and no place before a real neighbour.
# Why it matters: zeros are the usual stand-in for "no face found", and faiss and scikit-learn have a similarity of 0
# for them (shown below). One such row among millions is the first answer to every search, whoever is asked for; and
# moved from one database to the other, or from distance to similarity, the same search answers differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.1 sqlite-vec==0.1.9 apsw==3.54.1.0 numpy==2.4.6 \
    faiss-cpu==1.15.1 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import apsw
import duckdb
import faiss
import numpy as np
import sqlite_vec
from sklearn.neighbors import NearestNeighbors

draw = np.random.default_rng(0)
gallery = draw.normal(size=(6, 8)).astype(np.float32)
empty, same = 3, 5
gallery[empty] = 0
probe = gallery[same] + 0.01  # the last person, nearly
likeness = gallery @ probe / np.maximum(np.linalg.norm(gallery, axis=1), 1e-12) / np.linalg.norm(probe)
print("cosines, with 0 for the empty row:", likeness.round(2))

duck = duckdb.connect()
duck.execute("create table faces (person int, embedding float[8])")
duck.executemany("insert into faces values (?, ?)", [(person, row.tolist()) for person, row in enumerate(gallery)])
by_similarity = "select person from faces order by array_cosine_similarity(embedding, ?::float[8]) desc"
by_distance = "select person from faces order by array_cosine_distance(embedding, ?::float[8])"
largest = "select arg_max(person, array_cosine_similarity(embedding, ?::float[8])) from faces"
asked = [
    [row[0] for row in duck.execute(query, [probe.tolist()]).fetchall()]
    for query in (by_similarity, by_distance, largest)
]
print("DuckDB", duckdb.__version__, "by similarity", asked[0], "by distance", asked[1], "arg_max", asked[2])

lite = apsw.Connection(":memory:")
lite.enable_load_extension(True)
lite.load_extension(sqlite_vec.loadable_path())
versions = lite.execute("select vec_version(), sqlite_version()").fetchone()
lite.execute("create table faces (person integer primary key, embedding blob)")
for person, row in enumerate(gallery):
    lite.execute("insert into faces values (?, ?)", (person, row.tobytes()))
by_hand = "select person from faces order by vec_distance_cosine(embedding, ?)"
found = [row[0] for row in lite.execute(by_hand, (probe.tobytes(),))]
print("sqlite-vec", versions[0], "SQLite", versions[1], "by distance", found)

index = faiss.IndexFlatIP(8)
unit = gallery.copy()
faiss.normalize_L2(unit)
index.add(unit)
in_faiss = index.search(probe[None] / np.linalg.norm(probe), 6)[1][0].tolist()
in_sklearn = NearestNeighbors(n_neighbors=6, metric="cosine").fit(gallery).kneighbors(probe[None])[1][0].tolist()
print("faiss", in_faiss, "scikit-learn", in_sklearn)

right = [person for person in np.argsort(-likeness).tolist() if person != empty]
assert asked[0] == [empty, *right] and asked[1] == [*right, empty] and asked[2] == [empty]
assert found == [empty, *right]
assert in_faiss == in_sklearn == np.argsort(-likeness).tolist()
END
echo "as seen"
