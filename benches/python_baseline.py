#!/usr/bin/env python3
"""A small, faithful model of the pipeline that users run today, to be measured beside ours.

Parquet in by `iter_batches` and `to_dict("records")`; a ProcessPoolExecutor whose workers parse, `RunReactants`, sanitise
and write SMILES, one dict per product; at most 2 x workers batches in flight; one in-memory set of SMILES in the
collector; chunks of 2,000 rows to Parquet. The columns are ours. The chemistry (mask, caps, semantics) is that of
tests/oracle/oracle.py, so that both sides can be compared product by product.

usage: python_baseline.py --input FILE [--rows N] --out FILE --workers N
         (--rules transforms.yaml --rule NAME | --rules halogens.yaml --class NAME --depth K)
Prints one JSON object: parents, products, unique.
"""

import argparse
import json
import sys
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "oracle"))
import oracle  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from rdkit import Chem  # noqa: E402

BATCH_ROWS = 500  # parents per task; a 25th of that at depth 2, where a parent has hundreds of products
CHUNK_ROWS = 2000
TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("smiles", pa.string()),
        ("source_smiles", pa.string()),
        ("source_row", pa.int64()),
        ("xf_rule_id", TEXT),
        ("xf_label", TEXT),
        ("xf_family", TEXT),
        ("xf_site_index", pa.int32()),
        ("xf_site_atoms", pa.list_(pa.int32())),
    ]
)
state = {}


def prepare(rules, depth):
    state["rules"], state["depth"] = rules, depth


def work(records):
    rows = []
    for record in records:
        level = [Chem.MolFromSmiles(record["smiles"])]
        for step in range(state["depth"]):
            last = step + 1 == state["depth"]
            made = {}
            for mol in level:
                if mol is None:
                    continue
                molecule = oracle.Molecule(mol)
                for rule, label, family in state["rules"]:
                    for site, atoms, smiles in oracle.apply(rule, molecule, oracle.Counter()):
                        if smiles is None:
                            continue
                        if not last:
                            made[smiles] = None
                        elif state["depth"] == 1 or smiles not in made:
                            made[smiles] = None
                            rows.append(
                                {
                                    "smiles": smiles,
                                    "source_smiles": record["smiles"],
                                    "source_row": record["row"],
                                    "xf_rule_id": rule.name,
                                    "xf_label": label,
                                    "xf_family": family,
                                    "xf_site_index": site,
                                    "xf_site_atoms": atoms,
                                }
                            )
            level = [] if last else [Chem.MolFromSmiles(smiles) for smiles in made]
    return rows


def batches(path, most, batch_rows):
    row = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=batch_rows, columns=["smiles"]):
        records = batch.to_pandas().to_dict("records")[: most - row]
        for record in records:
            record["row"] = row
            row += 1
        if not records:
            return
        yield records


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True)
    parser.add_argument("--rows", type=int, default=10**12)
    parser.add_argument("--out", required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--rules", required=True)
    parser.add_argument("--rule")
    parser.add_argument("--class", dest="class_name")
    parser.add_argument("--depth", type=int, default=1)
    args = parser.parse_args()
    if args.rule:
        document = oracle.yaml.safe_load(Path(args.rules).read_text())
        words = {t["name"]: (t["label"], t["family"]) for t in document["transforms"]}
        rules = [(r, *words[r.name]) for r in oracle.transform_rules(args.rules) if r.name == args.rule]
    else:
        rules = [(r, r.name, "halogenation") for r in oracle.halogen_rules(args.rules, args.class_name, args.depth)]
    assert rules, "no such rule"
    totals = {"parents": 0, "products": 0, "unique": 0}
    seen = set()
    buffer = []
    with (
        pq.ParquetWriter(args.out, SCHEMA, compression="zstd") as writer,
        ProcessPoolExecutor(args.workers, initializer=prepare, initargs=(rules, args.depth)) as pool,
    ):

        def collect(done):
            for future in done:
                for product in future.result():
                    totals["products"] += 1
                    if product["smiles"] not in seen:
                        seen.add(product["smiles"])
                        buffer.append(product)
                        if len(buffer) >= CHUNK_ROWS:
                            writer.write_table(pa.Table.from_pylist(buffer, SCHEMA))
                            buffer.clear()

        flying = set()
        batch_rows = BATCH_ROWS if args.depth == 1 else BATCH_ROWS // 25
        # Of a small input, every worker still gets its share.
        parents = min(args.rows, pq.read_metadata(args.input).num_rows)
        batch_rows = max(1, min(batch_rows, parents // (4 * args.workers)))
        for records in batches(args.input, args.rows, batch_rows):
            totals["parents"] += len(records)
            flying.add(pool.submit(work, records))
            if len(flying) >= 2 * args.workers:
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                collect(done)
        collect(wait(flying).done)
        writer.write_table(pa.Table.from_pylist(buffer, SCHEMA))
    totals["unique"] = len(seen)
    print(json.dumps(totals))


if __name__ == "__main__":
    main()
