"""Parquet files as other writers make them: page encodings, codecs and types that halocline's own writer does not use.

usage: foreign.py FOLDER. None has page checksums, so that mutations reach the decoders.
"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq

smiles = ["CCO", "c1ccccc1O", "CC(=O)O", "CCO", "N[C@@H](C)C(=O)O", "C"]
flat = pa.table({"smiles": smiles, "n": pa.array([1, 2, None, 4, 5, 6], pa.int64())})
nested = pa.table({
    "canonical_smiles": pa.array(smiles, pa.large_string()),
    "class": pa.array(list("aabbab")).dictionary_encode(),
    "atoms": pa.array([[1, 2], [], None, [3], [4, 5], [6]], pa.list_(pa.int32())),
    "x": pa.array([0.5, 1.5, None, -1e-7, 2.0, 3.0]),
    "ok": pa.array([True, None, False, True, True, False]),
})
for name, table, options in [
    ("plain", flat, dict(compression="none", use_dictionary=False)),
    ("delta", flat, dict(compression="none", use_dictionary=False,
                         column_encoding={"smiles": "DELTA_BYTE_ARRAY", "n": "DELTA_BINARY_PACKED"})),
    ("lengths", flat, dict(compression="none", use_dictionary=False, data_page_version="2.0",
                           column_encoding={"smiles": "DELTA_LENGTH_BYTE_ARRAY"})),
    ("v2", nested, dict(compression="snappy", data_page_version="2.0", row_group_size=4)),
    ("index", nested, dict(compression="lz4", write_page_index=True, data_page_size=16)),
    ("gzip", flat, dict(compression="gzip")),
]:
    pq.write_table(table, f"{sys.argv[1]}/{name}.parquet", write_statistics=False, store_schema=name != "v2", **options)
