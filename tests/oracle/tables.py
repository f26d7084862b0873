#!/usr/bin/env python3
"""Opens Parquet tables with pyarrow, DuckDB and Polars, checks that all three see the same, and prints it as JSON.

usage: tables.py FILE
  {"rows": n, "columns": [[name, type], ...], "metadata": {key: text}, "data": {column: [values]}}
"""

import json
import sys

import duckdb
import polars
import pyarrow.parquet


def main():
    (path,) = sys.argv[1:]
    table = pyarrow.parquet.read_table(path)
    data = table.to_pydict()
    names = table.column_names
    with_duckdb = duckdb.connect().execute("select * from read_parquet(?)", [path])
    assert [d[0] for d in with_duckdb.description] == names, "DuckDB sees other columns"
    rows = with_duckdb.fetchall()
    assert rows == list(zip(*data.values())) or not rows and not len(table), "DuckDB sees other rows"
    frame = polars.read_parquet(path)
    assert frame.columns == names, "Polars sees other columns"
    assert frame.to_dict(as_series=False) == data, "Polars sees other rows"
    metadata = {k.decode(): v.decode() for k, v in (pyarrow.parquet.read_metadata(path).metadata or {}).items()}
    metadata.pop("ARROW:schema", None)
    columns = [[field.name, str(field.type)] for field in table.schema]
    print(json.dumps({"rows": len(table), "columns": columns, "metadata": metadata, "data": data}))


main()
