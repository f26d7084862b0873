#!/usr/bin/env python3
"""The oracle: what the chemistry of halocline must give, computed with RDKit's Python and nothing of ours.

It reads the rule files and SMILES, computes products and site counts from the written semantics (below), reads what
`halo-transform-shard` wrote, and compares. It shares no code with the project; the only common ground is the rule
files and RDKit 2022.09.

Semantics
  site      a match of the reactant template of the SMIRKS, symmetric matches included (uniquify off), RDKit's order
  mask      a site with an atom in a sugar ring, or bonded to an atom of one, is skipped
            sugar ring: SSSR ring of 5 or 6, no aromatic atom, exactly one oxygen, no carbonyl carbon in the ring,
            sp3 carbons at least 40 % (5) or 50 % (6) of the members, two or more exocyclic single-bonded oxygens
  cap       of the sites left, the first N in the order of their atoms' canonical ranks (query order)
  product   RunReactants, SanitizeMol, RemoveHs, MolToSmiles; what fails is a reject
  depth 2   each distinct depth-1 product of a parent, over all reactions of the class's depth-2 list, is read again and
            all reactions are applied; each distinct product counts once per parent

usage
  oracle.py self-test
  oracle.py transforms --rules transforms.yaml --library FILE --ours DIR
  oracle.py halogens --rules halogens.yaml --class NAME --depth K --library FILE --ours DIR
FILE is the Parquet library with the parents. Exit code 1 and the differences when there are any.
"""

import argparse
import json
import re
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from pathlib import Path

import yaml
from rdkit import Chem, RDLogger, rdBase
from rdkit.Chem import AllChem

RDLogger.DisableLog("rdApp.*")
MANY = 1_000_000
COUNTS = ("sites_matched", "sites_masked", "sites_capped")


class Rule:
    def __init__(self, name, smirks, mask, cap):
        self.name, self.smirks, self.mask, self.cap = name, smirks, mask, cap
        self.reaction = AllChem.ReactionFromSmarts(smirks)
        self.reaction.Initialize()
        assert self.reaction.GetNumReactantTemplates() == 1, smirks
        self.template = self.reaction.GetReactantTemplate(0)

    def __reduce__(self):
        return Rule, (self.name, self.smirks, self.mask, self.cap)


def transform_rules(path):
    document = yaml.safe_load(Path(path).read_text())
    defaults = document["defaults"]
    rules = []
    for entry in document["transforms"]:
        cap = entry.get("max_sites_per_mol", defaults["max_sites_per_mol"])
        mask = entry.get("exclude_sugar_like", defaults["exclude_sugar_like"])
        rules.append(Rule(entry["name"], entry["smirks"], mask, None if cap < 0 else cap))
    return rules


def with_halogen(smirks, halogen):
    """Replaces each X that stands outside brackets; inside, X is SMARTS for connectivity."""
    parts = re.split(r"(\[[^\]]*\])", smirks)
    return "".join(p if p.startswith("[") else p.replace("X", halogen) for p in parts)


def halogen_rules(path, class_name, depth):
    document = yaml.safe_load(Path(path).read_text())
    (entry,) = [c for c in document["classes"] if c["name"] == class_name]
    names = list(entry["depth_1"])
    if depth == 2:
        names += entry.get("depth_2_extra", [])
    caps = {c["rule"]: c["sites"] for c in entry.get("max_sites", [])}
    smirks = {r["name"]: r["smirks"] for r in document["reactions"]}
    mask = document["defaults"]["sugar_mask"]
    return [
        Rule(name[:-1] + halogen, with_halogen(smirks[name], halogen), mask, caps.get(name))
        for name in names
        for halogen in document["halogens"]
    ]


def sugar_rings(mol):
    rings = []
    for ring in Chem.GetSSSR(mol):
        if len(ring) not in (5, 6):
            continue
        members = [mol.GetAtomWithIdx(i) for i in ring]
        if any(a.GetIsAromatic() for a in members):
            continue
        if sum(a.GetAtomicNum() == 8 for a in members) != 1:
            continue
        inside = set(ring)
        carbonyl = False
        sp3_carbons = 0
        oxygens = set()
        for a in members:
            if a.GetAtomicNum() == 6 and a.GetHybridization() == Chem.HybridizationType.SP3:
                sp3_carbons += 1
            for bond in a.GetBonds():
                other = bond.GetOtherAtom(a)
                if other.GetIdx() in inside or other.GetAtomicNum() != 8:
                    continue
                if a.GetAtomicNum() == 6 and bond.GetBondType() == Chem.BondType.DOUBLE:
                    carbonyl = True
                if bond.GetBondType() == Chem.BondType.SINGLE:
                    oxygens.add(other.GetIdx())
        percent = 40 if len(ring) == 5 else 50
        if carbonyl or len(oxygens) < 2 or sp3_carbons * 100 < percent * len(ring):
            continue
        rings.append(inside)
    return rings


class Molecule:
    """A parent or an intermediate, with what the rules ask of it computed once."""

    def __init__(self, mol):
        self.mol = mol

    @cached_property
    def masked(self):
        ring_atoms = set().union(*sugar_rings(self.mol))
        near = {n.GetIdx() for i in ring_atoms for n in self.mol.GetAtomWithIdx(i).GetNeighbors()}
        return ring_atoms | near

    @cached_property
    def ranks(self):
        return list(Chem.CanonicalRankAtoms(self.mol, breakTies=True))


def apply(rule, molecule, counts):
    """Yields (site index, site atoms, product SMILES or None when it is a reject) in the order of the sites."""
    mol = molecule.mol
    matches = mol.GetSubstructMatches(rule.template, uniquify=False, maxMatches=MANY)
    if not matches:
        return
    left = range(len(matches))
    counts["sites_matched"] += len(matches)
    if rule.mask:
        left = [i for i in left if molecule.masked.isdisjoint(matches[i])]
        counts["sites_masked"] += len(matches) - len(left)
    if rule.cap is not None and len(left) > rule.cap:
        counts["sites_capped"] += len(left) - rule.cap
        ranks = molecule.ranks
        left = sorted(sorted(left, key=lambda i: [ranks[a] for a in matches[i]])[: rule.cap])
    if not left:
        return
    products = rule.reaction.RunReactants((mol,), maxProducts=MANY)
    assert len(products) == len(matches), "RunReactants and GetSubstructMatches disagree"
    for i in left:
        (product,) = products[i]
        try:
            Chem.SanitizeMol(product)
            smiles = Chem.MolToSmiles(Chem.RemoveHs(product))
        except Exception:
            smiles = None
        yield i, matches[i], smiles


def expand_transforms(job):
    """One parent under every rule: {rule: (counts, [(site, atoms, product)])}, or None when it does not parse."""
    rules, smiles = job
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return None
    molecule = Molecule(mol)
    found = {}
    for rule in rules:
        counts = Counter()
        rows = list(apply(rule, molecule, counts))
        if counts:
            found[rule.name] = counts, rows
    return found


def expand_halogens(job):
    """One parent: ({distinct products at the last depth}, {rule: counts over all steps}), or None."""
    rules, depth, smiles = job
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return None
    counts = {rule.name: Counter() for rule in rules}
    level = [mol]
    for step in range(depth):
        products = {}
        for mol in level:
            molecule = Molecule(mol)
            for rule in rules:
                into = counts[rule.name]
                for _, _, product in apply(rule, molecule, into):
                    if product is not None:
                        products[product] = None
        if step + 1 < depth:
            level = [m for m in map(Chem.MolFromSmiles, products) if m is not None]
    return set(products), counts


def read_table(path, columns):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path, columns=columns).to_pydict()


def report(problems):
    for problem in problems[:20]:
        print(problem)
    if len(problems) > 20:
        print(f"... and {len(problems) - 20} more")
    return 1 if problems else 0


def differences(what, ours, wanted):
    problems = []
    if ours != wanted:
        missing, extra = wanted - ours, ours - wanted
        problems.append(f"{what}: {len(missing)} products missing, {len(extra)} too many, of {len(wanted)}")
        problems += [f"  missing {s}" for s in sorted(missing)[:3]] + [f"  extra   {s}" for s in sorted(extra)[:3]]
    return problems


def compare_transforms(args):
    rules = transform_rules(args.rules)
    parents = read_table(args.library, ["smiles"])["smiles"]
    with ProcessPoolExecutor(2) as pool:
        expanded = list(pool.map(expand_transforms, [(rules, s) for s in parents], chunksize=64))
    problems = []
    total = Counter()
    for rule in rules:
        counts = Counter()
        wanted = {}
        for row, found in enumerate(expanded):
            if found and rule.name in found:
                these, rows = found[rule.name]
                counts.update(these)
                for site, atoms, product in rows:
                    if product is not None:
                        wanted[row, site] = atoms, product
        unique = {product for _, product in wanted.values()}
        path = Path(args.ours) / f"{rule.name}.parquet"
        table = read_table(path, ["smiles", "source_row", "xf_site_index", "xf_site_atoms", "xf_rule_id"])
        problems += differences(rule.name, set(table["smiles"]), unique)
        for n, key in enumerate(zip(table["source_row"], table["xf_site_index"])):
            got = tuple(table["xf_site_atoms"][n]), table["smiles"][n]
            if wanted.get(key) != got or table["xf_rule_id"][n] != rule.name:
                problems.append(f"{rule.name}: row {key} is {got}, should be {wanted.get(key)}")
        sidecar = json.loads(Path(f"{path}.stats.json").read_text())
        for name in COUNTS:
            if sidecar["counts"].get(name, 0) != counts[name]:
                problems.append(f"{rule.name}: {name} is {sidecar['counts'].get(name, 0)}, should be {counts[name]}")
        total.update(counts)
        total["products"] += len(unique)
    print(f"{len(parents)} parents, {len(rules)} rules: " + ", ".join(f"{k} {v}" for k, v in total.items()))
    return report(problems)


def compare_halogens(args):
    rules = halogen_rules(args.rules, args.class_name, args.depth)
    parents = read_table(args.library, ["smiles"])["smiles"]
    with ProcessPoolExecutor(2) as pool:
        expanded = list(pool.map(expand_halogens, [(rules, args.depth, s) for s in parents]))
    unique = set().union(*(e[0] for e in expanded if e))
    path = Path(args.ours) / "products.parquet"
    table = read_table(path, ["smiles", "source_row"])
    problems = differences(f"{args.class_name} {args.depth}X", set(table["smiles"]), unique)
    for smiles, row in zip(table["smiles"], table["source_row"]):
        if expanded[row] is None or smiles not in expanded[row][0]:
            problems.append(f"{smiles} is no product of row {row}")
    counts = Counter()
    for e in expanded:
        for these in (e[1] if e else {}).values():
            counts.update(these)
    sidecar = json.loads(Path(f"{path}.stats.json").read_text())
    for name in COUNTS:
        if sidecar["counts"].get(name, 0) != counts[name]:
            problems.append(f"{name} is {sidecar['counts'].get(name, 0)}, should be {counts[name]}")
    print(", ".join(f"{k} {v}" for k, v in counts.items()))
    print(f"{args.class_name} {args.depth}X: {len(parents)} parents, {len(unique)} unique products")
    return report(problems)


def self_test(_):
    assert rdBase.rdkitVersion.startswith("2022.09"), rdBase.rdkitVersion
    sugars = {
        "OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O": 1,  # glucose
        "OC[C@H]1O[C@@H](O[C@H]2[C@H](O)[C@@H](O)C(O)O[C@@H]2CO)[C@H](O)[C@@H](O)[C@H]1O": 2,  # lactose
        "O=c1c(O[C@@H]2O[C@H](CO)[C@@H](O)[C@H](O)[C@H]2O)c(-c2ccc(O)c(O)c2)oc2cc(O)cc(O)c12": 1,  # quercetin 3-glucoside
        "c1ccccc1": 0,
        "CC(=O)Oc1ccccc1C(=O)O": 0,  # aspirin
        "C1CC2OC2O1": 0,  # an oxygen that bridges the ring is one oxygen
    }
    for smiles, rings in sugars.items():
        assert len(sugar_rings(Chem.MolFromSmiles(smiles))) == rings, smiles
    assert with_halogen("[CH2:1][CX3:2]=[O:3]>>[CH:1](X)[CX3:2]=[O:3]", "Cl").endswith("[CH:1](Cl)[CX3:2]=[O:3]")
    print("self-test passed")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("self-test").set_defaults(run=self_test)
    for name, run in (("transforms", compare_transforms), ("halogens", compare_halogens)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--rules", required=True)
        command.add_argument("--library", required=True)
        command.add_argument("--ours", required=True)
        if name == "halogens":
            command.add_argument("--class", dest="class_name", required=True)
            command.add_argument("--depth", type=int, choices=(1, 2), required=True)
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
