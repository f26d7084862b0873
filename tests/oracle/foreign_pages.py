"""Tables whose pages are not as most writers make them.

usage: foreign_pages.py FOLDER
  long_entries.parquet   short rows, then rows of 9,000 characters that refer to a dictionary: a page of a few bytes
  row_group.parquet      a page for a whole row group of 122,880 rows of 90 characters, 11 MB, as DuckDB writes them
  one_page.parquet       a million rows in one page of 93 MB
"""

import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

random.seed(1)


def write(name, smiles, **options):
    table = pa.table({"smiles": smiles, "class": pa.array(["polyphenol"] * len(smiles))})
    pq.write_table(table, f"{sys.argv[1]}/{name}.parquet", **options)


def chains(rows):
    return ["C" * (n % 40 + 1) + "O" + "C" * (n % 57) for n in range(rows)]


# No molecules: what is tried is reading them.
long = ["?" * 9000 + "N" * (n % 50) for n in range(30_000)]
write("long_entries", chains(150_000) + long, row_group_size=180_000, compression="zstd")
huge = dict(use_dictionary=False, data_page_size=1 << 30, max_rows_per_page=1 << 30)
rows = ["".join(random.choices("CNO", k=90)) for _ in range(122_880)]
write("row_group", rows * 2, row_group_size=122_880, compression="snappy", **huge)
rows = ["C" * (n % 90 + 48) for n in range(1_000_000)]
write("one_page", rows, row_group_size=len(rows), compression="zstd", **huge)
