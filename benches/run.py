#!/usr/bin/env python3
"""Ours against what users run today, and against the peers, on the same cores, alternately.

usage: benches/run [--only NAME,...] [--rounds 5] [--rows 500000] [--merge-rows 20000000]

Questions: ome (one rule), rules16 (all polyphenol rules), amine (the amine rules, which match almost nothing), halogens1,
halogens2, floor (RDKit's MolToSmiles alone, over the products of ome), threads (two against one), allocator (mimalloc against
glibc's malloc), merge (deduplication against DuckDB, Polars and SQLite), engines (full against
auto, everything equal), classes (our rate for each class and depth, and what the full library would take).
Every answer against Python is checked: both sides must give the same set of unique SMILES. `--rows` parents (a tenth of that
for rules16 and amine, which Python reads once per rule) are taken from a polyphenol 2X library of 552,000, evenly spread
over it. The newest RDKit for Python answers ome only. Raw runs go to benches/runs, the tables to benches/RESULTS.md.
"""

import argparse
import concurrent.futures
import csv
import datetime
import gzip
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
# SQLite falls from 117,000 to 32,000 rows a second on the way to 16 million.
SQLITE_ROWS = 4_000_000
CORES = 2
QUESTIONS = ["ome", "rules16", "amine", "halogens1", "halogens2", "floor", "threads", "allocator", "merge", "engines", "classes"]
# Of an answer from before both were kept with it.
NOT_NOTED = "by 2026-11-20 (commit not noted)"
# No rule is for the class `other`.
CLASSES = ["polyphenol", "terpenoid", "alkaloid", "lipid", "aa_peptide"]
# Debian's package libmimalloc2.0: the Python pipeline gains from a better allocator too, so it is measured with one.
MIMALLOC = "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2.0"
# Python side: environment, preloaded allocator.
BASELINES = {
    "Python, RDKit 2022": ("2022", None),
    "Python, RDKit 2022, mimalloc": ("2022", MIMALLOC),
    "Python, newest RDKit": ("newest", None),
    "Python, newest RDKit, mimalloc": ("newest", MIMALLOC),
}
# The users' library (DESIGN.md): halogenated parents, products of the 118 jobs; and the cores it is to run on.
FULL_PARENTS, FULL_PRODUCTS, FULL_CORES = 67_400_000, 757_000_000, 16
TRANSFORMS, HALOGENS = ROOT / "configs/transforms.yaml", ROOT / "configs/halogens.yaml"
# Every tenth polyphenol of np_68k has a little more than 500,000 products of depth 2 together.
EVERY = 10
# The Python side reads the parents once per rule: for many rules it gets fewer of them, and so do we.
MANY_RULES_SHARE = 10


def halo(name, *args):
    return [BIN / f"halo-{name}", *args, "--no-progress", "-q"]


def polyphenol_rules(part=""):
    document = yaml.safe_load(TRANSFORMS.read_text())
    return [t["name"] for t in document["transforms"] if "polyphenol" in t["scope_classes"] and part in t["name"]]


def natural_products(step, class_name="polyphenol"):
    """A typed library of every step-th molecule of a class."""
    out = WORK / f"{class_name}-every-{step}"
    if not (out / "library.parquet").exists():
        out.mkdir(parents=True, exist_ok=True)
        with gzip.open(ROOT / "data/np_68k.tsv.gz", "rt") as file:
            rows = [r for r in csv.DictReader(file, delimiter="\t") if r["class"] == class_name][::step]
        text = "".join(f"{r['id']}\t{r['smiles']}\n" for r in rows)
        (out / "input.tsv").write_text("id\tsmiles\n" + text)
        measure.run(halo("split", out / "input.tsv", "--out-dir", out, "--shards", "1"))
    return out / "library.parquet"


def halogenated(class_name, depth, step):
    """The halogenated library of every step-th molecule of a class."""
    out = WORK / f"{class_name}-{depth}X-every-{step}"
    if not (out / "products.parquet").exists():
        parents = natural_products(step, class_name)
        shard = out / "shard"
        ours_transform(parents, rows_of(parents), shard, ["--rules", HALOGENS, "--class", class_name], depth)
        ours_merge(shard / "products.parquet", out / "products.parquet")
    return out / "products.parquet"


def library_2x(rows):
    """`rows` parents of the polyphenol 2X library, evenly spread over it: neighbours in it are products of one molecule."""
    whole = halogenated("polyphenol", 2, EVERY)
    total = rows_of(whole)
    if rows >= total:
        return whole
    out = WORK / f"polyphenol-2X-{rows}.parquet"
    if not out.exists():
        # With our own writer: a copy by pyarrow is not known to hold canonical SMILES, and takes the full parse.
        measure.run([ROOT / "target/release/examples/sample", whole, out, str(rows)])
    return out


def rows_of(path):
    return pq.read_metadata(path).num_rows


def ours_transform(library, rows, out, rules, depth, threads=CORES):
    shutil.rmtree(out, ignore_errors=True)
    where = ["--input", library, "--rows", f"0..{rows}", "--out-dir", out]
    command = halo("transform-shard", *where, *rules, "--depth", str(depth), "--threads", str(threads))
    return with_own_peak(measure.run(command), out / "shard.stats.json")


def ours_merge(shard, out):
    out.parent.mkdir(parents=True, exist_ok=True)
    measured = measure.run(halo("dedup-merge", shard, "--out", out, "--threads", str(CORES)))
    return with_own_peak(measured, out.with_name(out.name + ".stats.json"))


def with_own_peak(measured, sidecar):
    """A run of less than a second has a peak that no sample meets; the process that did the work noted its own."""
    own = json.loads(sidecar.read_text())["peak_rss_bytes"]
    return measured | {"peak_bytes": max(measured["peak_bytes"], own)}


def ours(library, rows, rules, names, depth):
    out = WORK / "ours"
    steps = [ours_transform(library, rows, out / "shard", rules, depth)]
    outputs = [out / f"{name}.parquet" for name in names]
    steps += [ours_merge(out / f"shard/{name}.parquet", path) for name, path in zip(names, outputs)]
    made = sum(rows_of(out / f"shard/{name}.parquet") for name in names)
    return measure.together(steps), outputs, made


def preloading(library):
    return os.environ | ({"LD_PRELOAD": library} if library else {})


def python(side, library, rows, rules, names, depth):
    venv, allocator = BASELINES[side]
    program = [ROOT / f".venv-bench-{venv}/bin/python", ROOT / "benches/python_baseline.py"]
    out = WORK / f"python-{venv}"
    out.mkdir(parents=True, exist_ok=True)
    steps, outputs, products = [], [], 0
    for name in names:
        path = out / f"{name}.parquet"
        which = rules if depth is not None and "--class" in rules else [*rules[:2], "--rule", name]
        where = ["--input", library, "--rows", str(rows), "--out", path, "--workers", str(CORES)]
        command = [*program, *where, *which, "--depth", str(depth)]
        steps.append(measure.run(command, env=preloading(allocator)))
        products += json.loads(steps[-1]["stdout"])["products"]
        outputs.append(path)
    return measure.together(steps), outputs, products


def unique(paths):
    found = set()
    for path in paths:
        found.update((path.name, smiles) for smiles in pq.read_table(path, columns=["smiles"])["smiles"].to_pylist())
    return found


def against_python(name, rounds, library, rows, rules, names, depth):
    # The newest RDKit answers the first question only: it is no faster here, and the Python side takes most of the time.
    baselines = {side: b for side, b in BASELINES.items() if name == "ome" or b[0] == "2022"}
    runs = {"halocline": [], **{side: [] for side in baselines}}
    products = None
    for n in range(rounds):
        measured, mine, _ = ours(library, rows, rules, names, depth)
        runs["halocline"].append(measured)
        for side, (venv, _) in baselines.items():
            measured, theirs, made = python(side, library, rows, rules, names, depth)
            runs[side].append(measured)
            # Canonical SMILES differ between RDKit versions; only the version we link must agree.
            products = made if venv == "2022" else products
            if venv == "2022" and n == 0 and unique(mine) != unique(theirs):
                sys.exit(f"{name}: the two sides have different products")
        print(f"{name}: round {n + 1} of {rounds}", file=sys.stderr)
    return {"question": name, "parents": rows, "products": products, "runs": runs}


def floor(rounds, rows):
    library = library_2x(rows)
    rows = rows_of(library)
    rules, names = ["--rules", TRANSFORMS, "--rule", "FG_PHENOL_OH__OH__TO__OMe"], ["FG_PHENOL_OH__OH__TO__OMe"]
    program = WORK / "floor"
    libraries = ["-lRDKitSmilesParse", "-lRDKitGraphMol", "-lRDKitRDGeneral"]
    source = ROOT / "benches/floor.cc"
    subprocess.run(["g++", "-O3", "-I/usr/include/rdkit", source, "-o", program, *libraries], check=True)
    alone = {"MolToSmiles alone": None, "MolToSmiles alone, mimalloc": MIMALLOC}
    runs = {"halocline": [], **{side: [] for side in alone}}
    for _ in range(rounds):
        measured, outputs, made = ours(library, rows, rules, names, 1)
        runs["halocline"].append(measured)
        smiles = WORK / "floor.smi"
        # Every product of the shard's table is written once by RDKit.
        shard = pq.read_table(WORK / f"ours/shard/{names[0]}.parquet", columns=["smiles"])
        smiles.write_text("\n".join(shard["smiles"].to_pylist()) + "\n")
        for side, allocator in alone.items():
            said = json.loads(measure.run([program, smiles], env=preloading(allocator))["stdout"])
            seconds = said["cpu_seconds"]
            runs[side].append({"wall_seconds": seconds, "cpu_seconds": seconds, "peak_bytes": 0})
    return {"question": "floor", "parents": rows, "products": made, "runs": runs}


def threads(rounds, rows):
    """All polyphenol rules with one thread and with two; the merge is not part of it. And the ceiling this machine sets:
    two processes of one thread at once, which share nothing but caches and memory bus, each with all of the work."""
    library = library_2x(rows)
    rows = rows_of(library)
    names = polyphenol_rules()
    rules = ["--rules", TRANSFORMS] + [flag for rule in names for flag in ("--rule", rule)]
    out = WORK / "threads"
    runs = {"two threads": [], "one thread": [], "two processes of one thread": []}
    for _ in range(rounds):
        for count, side in ((2, "two threads"), (1, "one thread")):
            runs[side].append(ours_transform(library, rows, out, rules, 1, count))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            outs = [WORK / "threads-0", WORK / "threads-1"]
            both = list(pool.map(lambda out: ours_transform(library, rows, out, rules, 1, 1), outs))
        runs["two processes of one thread"].append(
            {
                "wall_seconds": max(m["wall_seconds"] for m in both),
                "cpu_seconds": sum(m["cpu_seconds"] for m in both),
                "peak_bytes": sum(m["peak_bytes"] for m in both),
            }
        )
    made = sum(rows_of(out / f"{name}.parquet") for name in names)
    each = {side: made * (2 if "processes" in side else 1) for side in runs}
    return {"question": "threads", "parents": rows, "products": made, "rows": each, "runs": runs}


def allocator(rounds, rows):
    """The OMe job of one binary with mimalloc and with glibc's malloc, which benches/allocator.c puts in its place."""
    library = library_2x(rows)
    rows = rows_of(library)
    name = "FG_PHENOL_OH__OH__TO__OMe"
    shim, out = WORK / "allocator.so", WORK / "allocator"
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-Wl,-z,initfirst", ROOT / "benches/allocator.c", "-o", shim], check=True
    )
    where = ["--input", library, "--rows", f"0..{rows}", "--out-dir", out, "--no-isolate"]
    command = halo("transform-shard", *where, "--rules", TRANSFORMS, "--rule", name, "--depth", "1", "--threads", "2")
    said = subprocess.run([BIN / "halo-transform-shard", "--version"], env=preloading(str(shim)), capture_output=True)
    if b"instead of mimalloc" not in said.stderr:
        sys.exit("benches/allocator.c found no mimalloc in halo-transform-shard")
    sides = {"mimalloc": None, "the same binary, glibc malloc": str(shim)}
    runs, made = {side: [] for side in sides}, {}
    for _ in range(rounds):
        for side, library in sides.items():
            shutil.rmtree(out, ignore_errors=True)
            runs[side].append(measure.run(command, env=preloading(library)))
            made[side] = (out / f"{name}.parquet").read_bytes()
    if len(set(made.values())) != 1:
        sys.exit("allocator: the two tables differ")
    return {"question": "allocator", "parents": rows, "products": rows_of(out / f"{name}.parquet"), "runs": runs}


def engines():
    """`--engine full` against `auto`: every molecule of np_68k with every rule and every halogen rule; then halogenated
    libraries of all classes, which `auto` takes by its light parse. Two processes, each every other molecule."""
    program = ROOT / "target/release/examples/engines"
    with gzip.open(ROOT / "data/np_68k.tsv.gz", "rt") as file:
        natural = [row["smiles"] for row in csv.DictReader(file, delimiter="\t")]
    trusted = []
    for class_name in CLASSES:
        for depth, step in ((1, 20), (2, 200)):
            library = halogenated(class_name, depth, step)
            trusted += pq.read_table(library, columns=["smiles"])["smiles"].to_pylist()
    found = {}
    for name, rules, molecules, flags in (
        ("all transform rules, np_68k", TRANSFORMS, natural, []),
        ("all transform rules, halogenated libraries, trusted", TRANSFORMS, trusted, ["trusted"]),
        ("all halogen rules, np_68k", HALOGENS, natural, []),
    ):
        processes = []
        for part in range(CORES):
            table = WORK / f"engines-{part}.tsv"
            table.write_text("id\tsmiles\n" + "".join(f"{i}\t{s}\n" for i, s in enumerate(molecules[part::CORES])))
            with table.open() as file:
                processes.append(
                    subprocess.Popen([program, rules, "all", "1", *flags], stdin=file, stdout=subprocess.PIPE, text=True)
                )
        totals = [0, 0, 0]
        for process in processes:
            said = process.communicate()[0]
            line = re.search(r"rows (\d+) products (\d+) edited \d+ different (\d+)", said)
            if line is None or process.returncode != (1 if int(line[3]) else 0):
                sys.exit(f"engines: {name}: ended with {process.returncode}\n{said}")
            totals = [a + int(b) for a, b in zip(totals, line.groups())]
        if totals[2]:
            sys.exit(f"engines: {name}: {totals[2]} lines differ\n{said}")
        found[name] = totals
        print(f"engines: {name}", file=sys.stderr)
    return {"question": "engines", "runs": {}, "found": found}


def engines_table(answer):
    lines = [
        "## Engines\n",
        "`--engine full` against `auto`, product by product, reject by reject, count by count; depth 1.\n",
        "| what | molecules | products | different |",
        "|---|---|---|---|",
    ]
    lines += [f"| {what} | {r:,} | {p:,} | {d} |" for what, (r, p, d) in answer["found"].items()]
    return lines + [""]


def classes(rounds):
    """Our rate for each class and depth over samples of np_68k, and that of each step around the transformation."""
    found = {}
    for class_name in CLASSES:
        for depth, step in ((1, 20), (2, 200)):
            library = halogenated(class_name, depth, step)
            molecules, rows = rows_of(natural_products(step, class_name)), rows_of(library)
            shard = WORK / "classes"
            rules = ["--rules", TRANSFORMS, "--class", class_name]
            runs = [ours_transform(library, rows, shard, rules, 1) for _ in range(rounds)]
            tables = sorted(path for path in shard.glob("*.parquet") if path.name != "rejects.parquet")
            found[f"{class_name}-{depth}X"] = {
                "molecules": molecules,
                "in_np_68k": len_of_class(class_name),
                "parents": rows,
                "products": sum(map(rows_of, tables)),
                "rules": len(tables),
                "cpu_seconds": medians(runs)["cpu_seconds"],
            }
            print(f"classes: {class_name}-{depth}X", file=sys.stderr)
    return {"question": "classes", "runs": {}, "libraries": found, "steps": steps(rounds)}


def steps(rounds):
    """CPU seconds per row of the steps around the transformation, on the large library and its OMe table."""
    library = halogenated("polyphenol", 2, EVERY)
    parents = rows_of(library)
    shard, rule = WORK / "steps", "FG_PHENOL_OH__OH__TO__OMe"
    ours_transform(library, parents, shard, ["--rules", TRANSFORMS, "--rule", rule], 1)
    table, merged = shard / f"{rule}.parquet", WORK / "steps-merged.parquet"
    plan = WORK / "steps-plan"
    commands = {
        "split": (halo("split", library, "--out-dir", plan, "--shards", "32"), parents),
        "merge": (halo("dedup-merge", table, "--out", merged, "--threads", str(CORES)), rows_of(table)),
        "validate": (halo("validate-parquet", merged, "--out", WORK / "steps-verdict.json"), rows_of(table)),
    }
    found = {}
    for name, (command, rows) in commands.items():
        cpu = medians([measure.run(command) for _ in range(rounds)])["cpu_seconds"]
        found[name] = {"rows": rows, "cpu_seconds": cpu}
    return found


def len_of_class(class_name):
    with gzip.open(ROOT / "data/np_68k.tsv.gz", "rt") as file:
        return sum(row["class"] == class_name for row in csv.DictReader(file, delimiter="\t"))


def extrapolation(answer):
    """The full library on 16 cores, with the arithmetic."""
    libraries, steps = answer["libraries"], answer["steps"]
    # How many parents each library would have if all of np_68k were expanded.
    expanded = {name: x["in_np_68k"] * x["parents"] / x["molecules"] for name, x in libraries.items()}
    scale = FULL_PARENTS / sum(expanded.values())
    lines = [
        "## The full library\n",
        f"{FULL_PARENTS:,} halogenated parents, {FULL_PRODUCTS:,} products, 118 jobs, {FULL_CORES} cores. Measured: CPU time of",
        "`halo-transform-shard` with all rules in scope, on samples of np_68k (every 20th molecule for 1X, every 200th for 2X).",
        "The users' shares of the classes are not known; those of np_68k, halogenated, stand in (`share`).\n",
        "| library | rules | parents | products | CPU s | products per parent | products/s/core | parents/s/core | share |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    seconds = products = 0
    for name, x in libraries.items():
        parents = expanded[name] * scale
        seconds += parents * x["cpu_seconds"] / x["parents"]
        products += parents * x["products"] / x["parents"]
        lines.append(
            f"| {name} | {x['rules']} | {x['parents']:,} | {x['products']:,} | {x['cpu_seconds']:.2f} "
            f"| {x['products'] / x['parents']:.2f} | {x['products'] / x['cpu_seconds']:,.0f} "
            f"| {x['parents'] / x['cpu_seconds']:,.0f} | {parents / FULL_PARENTS:.1%} |"
        )
    lines += ["", "| step | rows measured | CPU s | rows/s/core |", "|---|---|---|---|"]
    for name, x in steps.items():
        lines.append(f"| {name} | {x['rows']:,} | {x['cpu_seconds']:.2f} | {x['rows'] / x['cpu_seconds']:,.0f} |")
    per = {name: x["cpu_seconds"] / x["rows"] for name, x in steps.items()}
    around = FULL_PARENTS * per["split"] + FULL_PRODUCTS * (per["merge"] + per["validate"])
    scaled = seconds * FULL_PRODUCTS / products
    slowest = max(libraries, key=lambda name: libraries[name]["cpu_seconds"] / max(1, libraries[name]["products"]))
    dense = max(libraries, key=lambda name: libraries[name]["products"] / libraries[name]["parents"])
    x = libraries[dense]
    by_products = FULL_PRODUCTS * x["cpu_seconds"] / x["products"]

    def hours(cpu):
        return f"{cpu / 3600:.1f} CPU h / {FULL_CORES} cores = {cpu / 3600 / FULL_CORES * 60:.0f} min"

    lines += [
        "",
        f"- Transformation, by parents: sum over libraries of share x {FULL_PARENTS:,} / (parents/s/core) = {hours(seconds)}; that",
        f"  would make {products / 1e6:,.0f} M products.",
        f"- Transformation, by products: the users have {FULL_PRODUCTS / 1e6:,.0f} M, so their libraries hold more that reacts. All of them at",
        f"  the rate of {dense} ({x['products'] / x['parents']:.1f} products per parent): {hours(by_products)}; the sum by parents scaled to",
        f"  {FULL_PRODUCTS / 1e6:,.0f} M: {hours(scaled)}. (Libraries in which little reacts cost per parent, not per product: {slowest}.)",
        f"- Splitting {FULL_PARENTS / 1e6:.1f} M parents, merging and validating {FULL_PRODUCTS / 1e6:,.0f} M rows: {hours(around)}.",
        f"- Together: {hours(around + by_products)} to {hours(around + max(scaled, seconds))}. Assumed: cores scale as",
        "  two do (question `threads`), the disk keeps up, engine overhead of 10-25 ms per job is lost in it.",
    ]
    return lines


def merge(rounds, rows):
    data = WORK / f"merge-{rows}"
    peers = [sys.executable, ROOT / "benches/merge_peers.py"]
    if len(list(data.glob("part-*.parquet"))) != 20:
        measure.run([*peers, "generate", data, str(rows)])
    inputs = sorted(data.glob("part-*.parquet"))
    def ours(out, strategy):
        flags = ["--threads", str(CORES), "--memory-limit", "256MiB", "--strategy", strategy, "--tmp-dir", out.parent]
        return halo("dedup-merge", *inputs, "--out", out, *flags)

    few = min(rows, SQLITE_ROWS)
    sides = {
        "halocline": (rows, lambda out: ours(out, "auto")),
        "halocline, spill": (rows, lambda out: ours(out, "spill")),
        "DuckDB": (rows, lambda out: [*peers, "duckdb", data, out]),
        "Polars": (rows, lambda out: [*peers, "polars", data, out]),
        "SQLite": (few, lambda out: [*peers, "sqlite", data, out, str(few)]),
    }
    runs = {side: [] for side in sides}
    notes = {}
    for n in range(rounds):
        for side, (its_rows, command) in sides.items():
            folder = WORK / "merged"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            out = folder / "merged.parquet"
            runs[side].append(measure.run(command(out), disk=folder))
            if n == 0:
                notes[side] = measure.run([*peers, "check", data, out, str(its_rows)])["stdout"].strip()
    notes["SQLite"] += f", the first {few:,} rows"
    each = {side: its_rows for side, (its_rows, _) in sides.items()}
    return {"question": "merge", "parents": rows, "products": rows, "rows": each, "runs": runs, "notes": notes}


def medians(runs):
    keys = ["wall_seconds", "cpu_seconds", "peak_bytes"] + ["disk_bytes"] * ("disk_bytes" in runs[0])
    return {key: statistics.median(run[key] for run in runs) for key in keys}


def table(answers, machine):
    lines = [
        "# Benchmarks\n",
        f"Written by `benches/run` on {machine['date']}: {machine['cpu']}, {machine['cores']} cores. `benches/run` alone takes 500,000 parents",
        "(50,000 where Python reads them once per rule), which takes Python most of a day; the column `parents` says what was taken.",
        f"Medians of alternating rounds (the column `rounds`); all use {CORES} cores but SQLite, `MolToSmiles alone` and one thread. Raw runs: `benches/runs/`.\n",
        "| question | side | rounds | parents | products | wall s | CPU s | peak MiB | disk MiB | products/s/core | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for answer in answers:
        if not answer["runs"]:
            continue
        first = medians(next(iter(answer["runs"].values())))
        for side, runs in answer["runs"].items():
            m = medians(runs)
            one_core = "alone" in side or side in ("one thread", "SQLite")
            share = answer["rows"][side] / answer["products"] if "rows" in answer else 1
            rate = answer["products"] * share / m["wall_seconds"] / (1 if one_core else CORES)
            ratio = m["wall_seconds"] / first["wall_seconds"] / share
            if answer["question"] == "floor":
                ratio = first["cpu_seconds"] / m["cpu_seconds"]
            side += f" ({answer['notes'][side]})" if side in answer.get("notes", {}) else ""
            lines.append(
                f"| {answer['question']} | {side} | {len(runs)} "
                f"| {answer['parents'] * share:,.0f} | {answer['products'] * share:,.0f} "
                f"| {m['wall_seconds']:.2f} | {m['cpu_seconds']:.2f} | {'%.0f' % (m['peak_bytes'] / 2**20) if m['peak_bytes'] else ''} "
                f"| {'%.0f' % (m['disk_bytes'] / 2**20) if 'disk_bytes' in m else ''} | {rate:,.0f} | {ratio:.2f} |"
            )
    lines += [
        "",
        "`ratio`: wall time of the side over ours, per row where it took fewer; for `floor`, our CPU time over that of",
        "`MolToSmiles` alone. `products`: against Python all that are made; else those in the shard's tables, which hold each once;",
        "for the merge, rows. `disk`: at most at once, output included.",
        "When, and on which commit: " + "; ".join(f"{a['question']} {a.get('asked', NOT_NOTED)}" for a in answers) + ".",
        "System: " + "; ".join(sorted({a["system"] for a in answers if "system" in a})) + ".",
        *scaling(answers),
        "",
    ]
    for answer in answers:
        if answer["question"] == "classes":
            lines += extrapolation(answer)
        elif answer["question"] == "engines":
            lines += engines_table(answer)
    return "\n".join(lines) + "\n"


def scaling(answers):
    """Two threads against the goal, and against what the machine allows, in words."""
    for answer in answers:
        if answer["question"] == "threads":
            two, one, apart = (medians(runs)["wall_seconds"] for runs in answer["runs"].values())
            reached = "reached" if one / two >= 1.9 else "not reached"
            return [
                f"Threads: two do {one / two:.2f} times the work of one; 1.9 is {reached}. Two processes, which share no code or",
                f"memory, do {2 * one / apart:.2f} times the work of one on this machine.",
            ]
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--halogen-every", type=int, default=1, help="halogenate every N-th polyphenol only")
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
            library = natural_products(args.halogen_every * (1 if depth == 1 else EVERY))
            answers.append(
                against_python(name, args.rounds, library, rows_of(library), halogens, ["products"], depth)
            )
        elif name == "floor":
            answers.append(floor(args.rounds, args.rows))
        elif name == "threads":
            answers.append(threads(args.rounds, args.rows))
        elif name == "allocator":
            answers.append(allocator(args.rounds, args.rows))
        elif name == "engines":
            answers.append(engines())
        elif name == "classes":
            answers.append(classes(args.rounds))
        elif name == "merge":
            answers.append(merge(args.rounds, args.merge_rows))
        elif name in ("ome", "rules16", "amine"):
            names = {"ome": ome, "rules16": polyphenol_rules(), "amine": polyphenol_rules("AMINE_AR")}[name]
            library = library_2x(args.rows // (1 if name == "ome" else MANY_RULES_SHARE))
            rows = rows_of(library)
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
    named = re.sub("[^A-Za-z0-9]+", "-", cpu).strip("-") + ".json"
    raw = ROOT / "benches/runs" / f"{machine['date']}-{named}"
    raw.parent.mkdir(exist_ok=True)
    describe = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True).stdout.strip() or "no commit"
    for answer in answers:
        answer["system"] = machine["system"]
        answer["asked"] = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC ({commit})"
        for runs in answer["runs"].values():
            for run in runs:
                run.pop("stdout", None)
    def add_from(file):
        """What was asked before and not again since stays, with its own time and commit."""
        asked = {answer["question"] for answer in answers}
        answers.extend(a for a in json.loads(file.read_text())["answers"] if a["question"] not in asked)
        answers.sort(key=lambda answer: QUESTIONS.index(answer["question"]))

    if raw.exists():
        add_from(raw)
    raw.write_text(json.dumps({"machine": machine, "answers": answers}, indent=1) + "\n")
    # Earlier days of the same processor, the newest first.
    for file in sorted(raw.parent.glob(f"????-??-??-{named}"), reverse=True):
        add_from(file)
    text = table(answers, machine)
    (ROOT / "benches/RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
