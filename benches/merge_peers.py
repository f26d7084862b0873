#!/usr/bin/env python3
"""Exact deduplication of whole rows, first kept, over 20 Parquet files: the peers of halo-dedup-merge.

usage: merge_peers.py generate DIR ROWS | duckdb DIR OUT | polars DIR OUT | sqlite DIR OUT ROWS | check DIR OUT [ROWS]
A row: key of about 90 characters, int32, int64, a dictionary of 20 texts, float64. 15 % of the rows repeat the key of an
earlier row, in any file. `check` compares OUT with an independent computation: same keys, first rows, in order.
SQLite takes the first ROWS only: from some millions of rows on every insertion is a random read of the index.
What a peer needs on disk beside OUT lies in OUT.spill or next to it.
"""

import hashlib
import itertools
import os
import sys
from pathlib import Path

FILES = 20
DUPLICATES = 0.15
MEMORY = "512MB"
THREADS = 2


def files(directory):
    return sorted(Path(directory).glob("part-*.parquet"))


def generate(directory, rows):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(7)
    Path(directory).mkdir(parents=True, exist_ok=True)
    distinct = 0
    per_file = int(rows) // FILES
    schema = pa.schema(
        [
            ("smiles", pa.string()),
            ("a", pa.int32()),
            ("row", pa.int64()),
            ("rule", pa.dictionary(pa.int32(), pa.string())),
            ("x", pa.float64()),
        ]
    )

    def key(n):
        digest = hashlib.blake2b(int(n).to_bytes(8, "little"), digest_size=42).hexdigest()
        return f"CC{digest}O"[:90]

    for n in range(FILES):
        path = Path(directory) / f"part-{n:02}.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["rule"]) as writer:
            for start in range(0, per_file, 100_000):
                size = min(100_000, per_file - start)
                repeated = rng.random(size) < DUPLICATES if distinct else np.zeros(size, bool)
                fresh = distinct + np.cumsum(~repeated) - 1
                ids = np.where(repeated, rng.integers(0, max(distinct, 1), size), fresh)
                distinct += int((~repeated).sum())
                first = n * per_file + start
                columns = [
                    [key(i) for i in ids],
                    rng.integers(0, 1000, size, dtype=np.int32),
                    np.arange(first, first + size),
                    pa.DictionaryArray.from_arrays((ids % 20).astype(np.int32), [f"rule-{r}" for r in range(20)]),
                    rng.random(size),
                ]
                writer.write_table(pa.Table.from_arrays([pa.array(c) for c in columns], schema=schema))


def duckdb(directory, out):
    import duckdb as db

    connection = db.connect()
    connection.execute(f"set memory_limit='{MEMORY}'; set threads={THREADS}; set temp_directory='{out}.spill'")
    paths = [str(p) for p in files(directory)]
    connection.execute(
        f"""copy (select smiles, arg_min({{'a': a, 'row': row, 'rule': rule, 'x': x}}, row) as first
        from read_parquet({paths}) group by smiles) to '{out}' (format parquet, compression zstd)"""
    )


def polars(directory, out):
    os.environ["POLARS_TEMP_DIR"] = f"{out}.spill"
    import polars as pl

    lazy = pl.scan_parquet(files(directory)).unique("smiles", keep="first", maintain_order=True)
    lazy.sink_parquet(out, compression="zstd")


def rows_of(directory, columns):
    """Rows as tuples, in order."""
    import pyarrow.parquet as pq

    for path in files(directory):
        for batch in pq.ParquetFile(path).iter_batches(100_000, columns=columns):
            yield from zip(*(batch[name].to_pylist() for name in columns))


def sqlite(directory, out, rows):
    import sqlite3

    import pyarrow as pa
    import pyarrow.parquet as pq

    store = Path(f"{out}.sqlite")
    store.unlink(missing_ok=True)
    connection = sqlite3.connect(store, isolation_level=None)
    # The fastest it can be told to be: no journal, nothing synced, and the memory DuckDB has. An order of rows is kept.
    connection.execute(f"pragma cache_size=-{512 * 1000}")
    connection.executescript("pragma journal_mode=off; pragma synchronous=off; pragma locking_mode=exclusive; begin")
    connection.execute("create table t (n integer primary key, smiles text unique, a int, row int, rule text, x real)")
    columns = ["smiles", "a", "row", "rule", "x"]
    rows = itertools.islice(rows_of(directory, columns), int(rows))
    connection.executemany("insert or ignore into t (smiles, a, row, rule, x) values (?, ?, ?, ?, ?)", rows)
    connection.execute("commit")
    kept = connection.execute("select smiles, a, row, rule, x from t order by n")
    text, dictionary = pa.string(), pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(list(zip(columns, [text, pa.int32(), pa.int64(), dictionary, pa.float64()])))
    with pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=["rule"]) as writer:
        while some := kept.fetchmany(100_000):
            arrays = [pa.array(values, kind) for values, kind in zip(zip(*some), [f.type for f in schema])]
            writer.write_table(pa.table(arrays, schema=schema))
    connection.close()
    store.unlink()


def check(directory, out, rows=None):
    import pyarrow.parquet as pq

    seen = set()
    wanted = []
    for smiles, row in itertools.islice(rows_of(directory, ["smiles", "row"]), rows and int(rows)):
        digest = hashlib.blake2b(smiles.encode(), digest_size=12).digest()
        if digest not in seen:
            seen.add(digest)
            wanted.append(row)
    got = pq.read_table(out)
    rows = got["row"].to_pylist() if "row" in got.column_names else [f["row"] for f in got["first"].to_pylist()]
    assert sorted(rows) == wanted, f"{len(rows)} rows, {len(wanted)} wanted"
    print("in order" if rows == wanted else "order lost")


if __name__ == "__main__":
    commands = {"generate": generate, "duckdb": duckdb, "polars": polars, "sqlite": sqlite, "check": check}
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
