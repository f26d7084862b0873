#!/usr/bin/env python3
"""What a merge must give, computed by DuckDB: every key once, with the row in which it comes first.

usage: distinct.py OUT.parquet SHARD.parquet...
Prints the number of keys. Exit code 1 and what differs when a key is lost, doubled, made up, or has another than its first row.
"""

import sys

import duckdb

out, *shards = sys.argv[1:]
ROW = "{site: xf_site_index, source: source_row, rule: xf_rule_id::varchar, mw: mw}"
db = duckdb.connect()
db.execute("set memory_limit = '4GB'; set threads = 2; set preserve_insertion_order = false")
# Files in the order of the command line, rows in the order of their file.
db.execute("create table places as select unnest(?::varchar[]) as filename, unnest(range(?)) as file", [shards, len(shards)])
db.execute(
    f"""create table wanted as select smiles, arg_min({ROW}, (file << 32) + file_row_number) as row
    from read_parquet(?, filename = true, file_row_number = true) join places using (filename) group by smiles""",
    [shards],
)
db.execute(f"create table got as select smiles, {ROW} as row from read_parquet(?)", [out])


def count(query):
    return db.execute(f"select count(*) from {query}").fetchone()[0]


keys, rows = count("wanted"), count("got")
lost, made_up = count("wanted anti join got using (smiles)"), count("got anti join wanted using (smiles)")
other = count("wanted join got using (smiles) where wanted.row is distinct from got.row")
if rows != keys or lost or made_up or other:
    sys.exit(f"{keys} keys, {rows} rows: {lost} lost, {made_up} made up, {other} rows that are not the first")
print(keys)
