#!/usr/bin/env python3
"""Ours against what users run today, and against the peers, on the same cores, alternately.

usage: benches/run [--only NAME,...] [--rounds 5] [--rows 500000] [--merge-rows 20000000]

Questions: ome (one rule), rules16 (all polyphenol rules), amine (nine rules that match almost nothing), halogens1,
halogens2, floor (RDKit's MolToSmiles alone, over the products of ome), merge (deduplication against DuckDB and Polars).
Every answer is checked: both sides must give the same set of unique SMILES. Raw runs go to benches/runs, the table to
benches/RESULTS.md.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import measure
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / "target/release"
WORK = ROOT / "target/bench"
CORES = 2
QUESTIONS = ["ome", "rules16", "amine", "halogens1", "halogens2", "floor", "merge"]
BASELINES = ("2022", "newest")
TRANSFORMS, HALOGENS = ROOT / "configs/transforms.yaml", ROOT / "configs/halogens.yaml"
# Parents of every 12th polyphenol of np_68k have a little more than 500,000 products of depth 2.
EVERY = 12
# The Python side reads the parents once per rule: for many rules it gets fewer of them, and so do we.
MANY_RULES_SHARE = 10


def halo(name, *args):
    return [BIN / f"halo-{name}", *args, "--no-progress", "-q"]


def polyphenol_rules(part=""):
    document = yaml.safe_load(TRANSFORMS.read_text())
    return [t["name"] for t in document["transforms"] if "polyphenol" in t["scope_classes"] and part in t["name"]]


def natural_products(step):
    """A typed library of every step-th polyphenol."""
    import csv
    import gzip

    out = WORK / f"polyphenol-every-{step}"
    if not (out / "library.parquet").exists():
        out.mkdir(parents=True, exist_ok=True)
        with gzip.open(ROOT / "data/np_68k.tsv.gz", "rt") as file:
            rows = [r for r in csv.DictReader(file, delimiter="\t") if r["class"] == "polyphenol"][::step]
        text = "".join(f"{r['id']}\t{r['smiles']}\n" for r in rows)
        (out / "input.tsv").write_text("id\tsmiles\n" + text)
        measure.run(halo("split", out / "input.tsv", "--out-dir", out, "--shards", "1"))
    return out / "library.parquet"


def library_2x():
    out = WORK / "polyphenol-2X"
    if not (out / "products.parquet").exists():
        parents = natural_products(EVERY)
        shard = out / "shard"
        ours_transform(parents, rows_of(parents), shard, ["--rules", HALOGENS, "--class", "polyphenol"], 2)
        ours_merge(shard / "products.parquet", out / "products.parquet")
    return out / "products.parquet"


def rows_of(path):
    return pq.read_metadata(path).num_rows


def ours_transform(library, rows, out, rules, depth):
    shutil.rmtree(out, ignore_errors=True)
    where = ["--input", library, "--rows", f"0..{rows}", "--out-dir", out]
    return measure.run(halo("transform-shard", *where, *rules, "--depth", str(depth), "--threads", str(CORES)))


def ours_merge(shard, out):
    out.parent.mkdir(parents=True, exist_ok=True)
    return measure.run(halo("dedup-merge", shard, "--out", out, "--threads", str(CORES)))


def ours(library, rows, rules, names, depth):
    out = WORK / "ours"
    steps = [ours_transform(library, rows, out / "shard", rules, depth)]
    outputs = [out / f"{name}.parquet" for name in names]
    steps += [ours_merge(out / f"shard/{name}.parquet", path) for name, path in zip(names, outputs)]
    made = sum(rows_of(out / f"shard/{name}.parquet") for name in names)
    return measure.together(steps), outputs, made


def python(venv, library, rows, rules, names, depth):
    program = [ROOT / f".venv-bench-{venv}/bin/python", ROOT / "benches/python_baseline.py"]
    out = WORK / f"python-{venv}"
    out.mkdir(parents=True, exist_ok=True)
    steps, outputs, products = [], [], 0
    for name in names:
        path = out / f"{name}.parquet"
        which = rules if depth is not None and "--class" in rules else [*rules[:2], "--rule", name]
        where = ["--input", library, "--rows", str(rows), "--out", path, "--workers", str(CORES)]
        steps.append(measure.run([*program, *where, *which, "--depth", str(depth)]))
        products += json.loads(steps[-1]["stdout"])["products"]
        outputs.append(path)
    return measure.together(steps), outputs, products


def unique(paths):
    found = set()
    for path in paths:
        found.update((path.name, smiles) for smiles in pq.read_table(path, columns=["smiles"])["smiles"].to_pylist())
    return found


def against_python(name, rounds, library, rows, rules, names, depth):
    runs = {"halocline": [], **{f"python-{v}": [] for v in BASELINES}}
    products = None
    for n in range(rounds):
        measured, mine, _ = ours(library, rows, rules, names, depth)
        runs["halocline"].append(measured)
        for venv in BASELINES:
            measured, theirs, products = python(venv, library, rows, rules, names, depth)
            runs[f"python-{venv}"].append(measured)
            # Canonical SMILES differ between RDKit versions; only the version we link must agree.
            if venv == "2022" and n == 0 and unique(mine) != unique(theirs):
                sys.exit(f"{name}: the two sides have different products")
        print(f"{name}: round {n + 1} of {rounds}", file=sys.stderr)
    return {"question": name, "parents": rows, "products": products, "runs": runs}


def floor(rounds, rows):
    library = library_2x()
    rules, names = ["--rules", TRANSFORMS, "--rule", "FG_PHENOL_OH__OH__TO__OMe"], ["FG_PHENOL_OH__OH__TO__OMe"]
    program = WORK / "floor"
    libraries = ["-lRDKitSmilesParse", "-lRDKitGraphMol", "-lRDKitRDGeneral"]
    source = ROOT / "benches/floor.cc"
    subprocess.run(["g++", "-O3", "-I/usr/include/rdkit", source, "-o", program, *libraries], check=True)
    runs = {"halocline": [], "MolToSmiles alone": []}
    for _ in range(rounds):
        measured, outputs, made = ours(library, rows, rules, names, 1)
        runs["halocline"].append(measured)
        smiles = WORK / "floor.smi"
        # Every product that was made is written once by RDKit: duplicates included.
        shard = pq.read_table(WORK / f"ours/shard/{names[0]}.parquet", columns=["smiles"])
        smiles.write_text("\n".join(shard["smiles"].to_pylist()) + "\n")
        said = json.loads(measure.run([program, smiles])["stdout"])
        runs["MolToSmiles alone"].append(
            {"wall_seconds": said["cpu_seconds"], "cpu_seconds": said["cpu_seconds"], "peak_bytes": 0}
        )
    return {"question": "floor", "parents": rows, "products": made, "runs": runs}


def merge(rounds, rows):
    data = WORK / f"merge-{rows}"
    peers = [sys.executable, ROOT / "benches/merge_peers.py"]
    if len(list(data.glob("part-*.parquet"))) != 20:
        measure.run([*peers, "generate", data, str(rows)])
    inputs = sorted(data.glob("part-*.parquet"))
    sides = {
        "halocline": lambda out: halo(
            "dedup-merge", *inputs, "--out", out, "--threads", str(CORES), "--memory-limit", "256MiB"
        ),
        "DuckDB": lambda out: [*peers, "duckdb", data, out],
        "Polars": lambda out: [*peers, "polars", data, out],
    }
    runs = {side: [] for side in sides}
    notes = {}
    for n in range(rounds):
        for side, command in sides.items():
            out = WORK / "merged.parquet"
            runs[side].append(measure.run(command(out)))
            if n == 0:
                notes[side] = measure.run([*peers, "check", data, out])["stdout"].strip()
    return {"question": "merge", "parents": rows, "products": rows, "runs": runs, "notes": notes}


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key in ("wall_seconds", "cpu_seconds", "peak_bytes")}


def table(answers, machine):
    lines = [
        "# Benchmarks\n",
        f"Written by `benches/run` on {machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['system']}.",
        f"Medians of alternating rounds (the column `rounds`); both sides use {CORES} cores. Raw runs: `benches/runs/`.\n",
        "| question | side | rounds | parents | products | wall s | CPU s | peak MiB | products/s/core | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for answer in answers:
        first = medians(next(iter(answer["runs"].values())))
        for side, runs in answer["runs"].items():
            m = medians(runs)
            rate = answer["products"] / m["wall_seconds"] / (1 if side == "MolToSmiles alone" else CORES)
            ratio = m["wall_seconds"] / first["wall_seconds"]
            if answer["question"] == "floor":
                ratio = first["cpu_seconds"] / m["cpu_seconds"]
            side += f" ({answer['notes'][side]})" if side in answer.get("notes", {}) else ""
            lines.append(
                f"| {answer['question']} | {side} | {len(runs)} | {answer['parents']:,} | {answer['products']:,} "
                f"| {m['wall_seconds']:.1f} | {m['cpu_seconds']:.1f} | {m['peak_bytes'] / 2**20:.0f} "
                f"| {rate:,.0f} | {ratio:.2f} |"
            )
    lines += [
        "",
        "`ratio`: wall time of the side over ours; for `floor`, our CPU time over that of `MolToSmiles` alone.",
        "`products`: before deduplication.",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--merge-rows", type=int, default=20_000_000)
    args = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    answers = []
    for name in args.only.split(","):
        ome = ["FG_PHENOL_OH__OH__TO__OMe"]
        transform = ["--rules", TRANSFORMS]
        halogens = ["--rules", HALOGENS, "--class", "polyphenol"]
        if name in ("halogens1", "halogens2"):
            depth = int(name[-1])
            library = natural_products(1 if depth == 1 else EVERY)
            answers.append(
                against_python(name, args.rounds, library, rows_of(library), halogens, ["products"], depth)
            )
        elif name == "floor":
            answers.append(floor(args.rounds, min(args.rows, rows_of(library_2x()))))
        elif name == "merge":
            answers.append(merge(args.rounds, args.merge_rows))
        elif name in ("ome", "rules16", "amine"):
            names = {"ome": ome, "rules16": polyphenol_rules(), "amine": polyphenol_rules("AMINE_AR")}[name]
            library = library_2x()
            rows = min(args.rows, rows_of(library)) // (1 if name == "ome" else MANY_RULES_SHARE)
            rules = transform + [flag for rule in names for flag in ("--rule", rule)]
            answers.append(against_python(name, args.rounds, library, rows, rules, names, 1))
        else:
            sys.exit(f"no question named `{name}`")
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cpu = cpu.group(1) if cpu else platform.machine()
    machine = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }
    raw = ROOT / "benches/runs" / f"{machine['date']}-{re.sub('[^A-Za-z0-9]+', '-', cpu).strip('-')}.json"
    raw.parent.mkdir(exist_ok=True)
    for answer in answers:
        for runs in answer["runs"].values():
            for run in runs:
                run.pop("stdout", None)
    # A run of some questions keeps what the same machine answered to the others on the same day.
    if raw.exists():
        asked = {answer["question"] for answer in answers}
        answers += [a for a in json.loads(raw.read_text())["answers"] if a["question"] not in asked]
        answers.sort(key=lambda answer: QUESTIONS.index(answer["question"]))
    raw.write_text(json.dumps({"machine": machine, "answers": answers}, indent=1) + "\n")
    text = table(answers, machine)
    (ROOT / "benches/RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
