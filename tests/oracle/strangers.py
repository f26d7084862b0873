#!/usr/bin/env python3
"""Rules that are not in our files, against RunReactants: unique products and number of sites per rule.

usage
  strangers.py rules [--random SEED]    a transforms.yaml with the rules, on stdout
  strangers.py compare [--random SEED] --library FILE --ours DIR
With --random the rules are not those below but 80 made up by that seed: groups put in the place of others, on atoms
whose hydrogens, charges and isotopes are left alone or set, likely or not.
FILE is the Parquet library with the parents, DIR what halo-transform-shard made of it. The semantics are those of
oracle.py, without mask and cap; a rule with several products gives a row per product. Exit code 1 and the differences
when there are any.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import yaml
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

import oracle

RDLogger.DisableLog("rdApp.*")

# name, SMIRKS, query SMARTS where it is another text than the reactant
RULES = [
    ("ring_forming", "([OX2H:1][c:2]:[c:3][C:4]=[C:5])>>[O:1]1[c:2]:[c:3][C:4][C:5]1", None),
    ("lactone", "([OX2H:1][C:2][C:3][C:4][C:5](=[O:6])[OX2H])>>[O:1]1[C:2][C:3][C:4][C:5]1(=[O:6])", None),
    ("ring_opening", "[C:1](=[O:2])[O;R:3][C:4]>>[C:1](=[O:2])O.[O:3][C:4]", None),
    ("epoxide_opening", "[C:1]1[O:2][C:3]1>>[C:1]([O:2])[C:3]Cl", None),
    ("hydrogenation", "[C:1]=[C:2]>>[C:1][C:2]", None),
    ("dehydrogenation", "[CX4;H2:1][CX4;H2:2]>>[CH:1]=[CH:2]", None),
    ("alcohol_to_ketone", "[C:1][CX4;H1:2]([C:3])[OX2H:4]>>[C:1][C:2]([C:3])=[O:4]", None),
    ("two_centres", "([c:1][OX2H:2].[CX3:3](=[O:4])[OX2H:5])>>([c:1][O:2]C.[C:3](=[O:4])[O:5]C)", None),
    ("stereo_setting", "[CX3:1]=[O:2]>>[C@@H:1]([F])[O:2]", "[CX3;H1:1]=[O:2]"),
    ("stereo_any", "[C:1]([C:3])=[O:2]>>[C@:1]([C:3])(F)([Cl])[O:2]", None),
    ("inversion", "[C@:1]([C:2])([N:3])([H:5])[C:4]>>[C@@:1]([C:2])([N:3])([H:5])[C:4]", None),
    ("inversion_oh", "[C@@H:1]([C:2])([O:3])[C:4]>>[C@H:1]([C:2])([O:3])[C:4]", None),
    ("stereo_lost", "[C@H:1]([C:2])([O:3])[C:4]>>[CH:1]([C:2])([O:3])[C:4]", None),
    ("double_bond_stereo", "[C:1]/[C:2]=[C:3]/[C:4]>>[C:1]/[C:2]=[C:3]\\[C:4]", None),
    ("protonation", "[NX3;H2,H1,H0;!$(N-C=O);!$(N-[#6]=,:[#6]);!$(N-c):1]>>[N+:1]", None),
    ("deprotonation", "[CX3:1](=[O:2])[OX2H:3]>>[C:1](=[O:2])[O-:3]", None),
    ("n_oxide", "[nX2;H0:1]>>[n+:1][O-]", None),
    ("quaternary", "[NX3;H0;!$(N-[C,S]=[O,N,S]);!$(N-[#6]=,:[#6]);!$(N-c):1]>>[N+:1]C", None),
    ("chain_deleted", "[O;X2;!R:1]([c:2])[CX4]>>[O:1][c:2]", None),
    ("ester_hydrolysis", "[C:1](=[O:2])[OX2;!R][C;!$(C=O):3]>>[C:1](=[O:2])O", None),
    ("recursive_smarts", "[$([c;H1]1ccc([OX2H])cc1):1]>>[c:1]Br", None),
    ("recursive_two", "[OX2H:1][$([CX4]([OH])[#6]);!$(C[OX2][#6]):2]>>[O:1]([S](=O)(=O)C)[C:2]", None),
    ("explicit_h", "[c:1][O:2][H]>>[c:1][O:2][C]([H])([H])[H]", None),
    ("h_on_product", "[c:1][OX2H:2]>>[c:1][N:2]([H])[H]", None),
    ("deuteration", "[c:1][OX2H:2]>>[c:1][O:2][2H]", None),
    ("isotope", "[CH3:1][O:2]>>[13CH3:1][O:2]", None),
    ("mapped_but_deleted", "[c:1][O:2][CH3:3]>>[c:1][OH:2]", None),
    ("all_mapped_deleted", "[c:1][C:2](=[O:3])[O:4][C:5]>>[c:1][H]", None),
    ("two_products", "[C:1](=[O:2])[N;!R:3][C:4]>>[C:1](=[O:2])O.[N:3][C:4]", None),
    ("aromatic_n", "[nH:1]>>[n:1]C", None),
    ("aromatic_n_swap", "[cH:1]1[cH:2][cH:3][cH:4][cH:5][c:6]1>>[n:1]1[cH:2][cH:3][cH:4][cH:5][c:6]1", None),
    ("aromatic_s", "[o;r5:1]>>[s:1]", None),
    ("contraction", "([C;R:1][C;R;H2][C;R:2])>>[C:1][C:2]", None),
    ("contraction_groups", "([CX4;R;H2:1].[CX4;R;H1:2])>>[C:1][C:2]", "[CX4;R;H2:1]1[C;R][CX4;R;H1:2][C;R][C;R]1"),
    ("ring_expansion", "[C;R:1](=[O:2])[C;R:3]>>[C:1](=[O:2])O[C:3]", "[C;R:1](=[O:2])([C;!$(C=O)])[C;R:3]"),
    ("dearomatise", "[c:1]1([OX2H:2])[cH:3][cH:4][c:5]([OX2H:6])[cH:7][cH:8]1>>[C:1]1(=[O:2])[CH:3]=[CH:4][C:5](=[O:6])[CH:7]=[CH:8]1", None),
    ("aromatise", "[C:1]1(=[O:2])[C:3]=[C:4][C:5](=[O:6])[c:7][c:8]1>>[c:1]1([O:2])[c:3][c:4][c:5]([O:6])[c:7][c:8]1", None),
    ("boron", "[c:1][OX2H]>>[c:1]B(O)O", None),
    ("silyl", "[OX2H:1][#6:2]>>[O:1]([Si](C)(C)C)[#6:2]", "[OX2H:1][c,$([CX4]):2]"),
    ("radical", "[c:1][OX2H:2]>>[c:1][O;v1:2]", None),
    ("salt", "[CX3:1](=[O:2])[OX2H:3]>>[C:1](=[O:2])[O-:3].[Na+]", None),
    ("triple", "[CX4;H2:1][OX2H:2]>>[C:1]#N", None),
    ("never_sanitises", "[c:1][OX2H:2]>>[c:1][O:2](C)C", None),
    # Looks like a local edit, and is one at some sites only: a ring atom with a neighbour more or less, a stereo centre
    # whose place is taken, forms that sanitising writes with charges.
    ("aromatic_full", "[c:1]>>[c:1]F", None),
    ("aromatic_h_kept", "[cH:1]>>[cH:1]C(F)(F)F", None),
    ("aromatic_two", "[c:1][OX2H]>>[c:1](F)Cl", None),
    ("aromatic_h_more", "[c:1][CH3:2]>>[cH:1][CH3:2]", None),
    ("sulfur_in_ring", "[S;R:1]([#6:2])[#6:3]>>[S:1]([#6:2])([#6:3])(F)F", None),
    ("sulfur_in_ring_back", "[S;R:1](F)(F)([#6:2])[#6:3]>>[S:1]([#6:2])[#6:3]", None),
    ("stereo_slot", "[c:1][CH]([OH])[CH3]>>[c:1]C(F)Br", None),
    ("sulfoxide_slot", "[c:1]S(=O)[CH3]>>[c:1]S(F)=N", None),
    ("phosphinic_slot", "[c:1]P(=O)([CH3])[OX2H]>>[c:1]P(=O)(F)Cl", None),
    ("iodyl", "[c:1][OX2H:2]>>[c:1][O:2]I(=O)=O", None),
    ("iodosyl", "[c:1][OX2H:2]>>[c:1][O:2]I=O", None),
    ("iodane", "[c:1]I>>[c:1]I(F)F", None),
    ("iodane_mapped", "[c:1][I:2]>>[c:1][I:2](Cl)Cl", None),
    ("phosphorus_imide", "[c:1][OX2H:2]>>[c:1][O:2]P(=O)=NC", None),
    ("phosphorus_ylide", "[c:1][OX2H]>>[c:1]P(=O)=CC", None),
    ("phosphorus_mapped", "[c:1][P:2]([OX2H])=[O:3]>>[c:1][P:2](F)=[O:3]", None),
    ("perchlorate", "[c:1][OX2H:2]>>[c:1][O:2]Cl(=O)(=O)=O", None),
    ("azide", "[c:1][OX2H]>>[c:1]N=N#N", None),
    ("nitro", "[c:1][OX2H]>>[c:1]N(=O)=O", None),
    # Local edits beside stereo that only a ring makes.
    ("methyl_ester", "[C:1](=[O:2])[OX2H:3]>>[C:1](=[O:2])[O:3]C", None),
    ("alkyl_bromide", "[CX4H2:1][OX2H]>>[C:1]Br", None),
    ("alkyl_fluoride", "[CX4H2:1]>>[C:1]F", None),
    # A valence that is impossible only when the aromatic bonds are single and double ones.
    ("carbonyl_addition", "[*:1]:[c:2]=[O:3]>>[*:1][c:2](F)=[O:3]", None),
    ("ring_oxygen_kept", "[o:1][c:2]>>[O:1][C:2]F", None),
    ("imine", "[c:1][nH:2]>>[c:1]=[n:2]", None),
    ("cumulene", "[c:1][c:2]>>[C:1]=[C:2]", None),
]


# A reactant, and what can become of it: {g} and {h} are groups, {n} sets something on the mapped atom before it.
LIKELY_OR_NOT = [
    ("[c:1][OX2H:2]", ["[c{n}:1]{g}", "[c:1][O{n}:2]{g}", "[c:1]({h})[O:2]{g}"]),
    ("[c:1][NX3;H2:2]", ["[c:1]{g}", "[c:1][N{n}:2]{g}", "[c:1][N:2]({g}){h}"]),
    ("[CX4:1][OX2H:2]", ["[C{n}:1]{g}", "[C:1][O{n}:2]{g}"]),
    ("[CX4:1][NX3;H2:2]", ["[C:1]{g}", "[C:1][N{n}:2]({h}){g}"]),
    ("[#6:1][OX2H:2]", ["[#6:1]{g}", "[#6:1][O{n}:2]{g}"]),
    ("[CX3:1](=[O:2])[OX2H1:3]", ["[C:1](=[O:2]){g}", "[C:1](=[O{n}:2])[O:3]{g}"]),
    ("[c:1][CH3:2]", ["[c{n}:1][C:2]", "[c:1][C{n}:2]{g}", "[c:1][C:2]({h}){g}"]),
    ("[c:1][CH2:2][OH:3]", ["[c:1][C{n}:2]{g}", "[c:1][C:2]({h})[O:3]{g}", "[c:1]{g}"]),
    ("[CX4H2:1]", ["[C{n}:1]{g}", "[C:1]({h}){g}", "[C{n}:1]"]),
    ("[cH:1]", ["[c:1]{g}", "[c{n}:1]{g}", "[c{n}:1]"]),
    ("[CH2:1]=[C:2]", ["[C:1]({g})=[C:2]", "[C{n}:1]=[C:2]"]),
    ("[NX3;H1:1]([#6:2])[#6:3]", ["[N{n}:1]([#6:2])([#6:3]){g}"]),
    ("[SX2:1]([#6:2])[#6:3]", ["[S{n}:1]([#6:2])([#6:3])({h}){g}", "[S{n}:1]([#6:2])[#6:3]"]),
    ("[C:1][C:2](=O)[OH]", ["[C{n}:1]{g}", "[C:1]({h}){g}"]),
    ("[c:1][O:2][CH3]", ["[c:1][O{n}:2]{g}", "[c:1]{g}", "[c:1][O{n}:2]"]),
    ("[c:1][CX4:2]([CH3])[OX2H]", ["[c{n}:1]{g}"]),
    ("[c:1][S](=O)[CH3]", ["[c:1]{g}"]),
    ("[C:1](=O)[CH3]", ["[C{n}:1]{g}"]),
    ("[P:1][OH:2]", ["[P{n}:1]{g}", "[P:1][O{n}:2]{g}"]),
    ("[c:1][F,Cl,Br,I]", ["[c{n}:1]{g}"]),
    ("[CX4:1]([CH3])([OX2H])[#6:2]", ["[C{n}:1]({g})[#6:2]", "[C:1]({g})({h})[#6:2]"]),
]
GROUPS = (
    "F Cl Br I O N C CC C(F)(F)F C(=O)O C#N C=C S SC S(C)(=O)=O S(C)=O P(O)O P(=O)(O)O P(=O)(C)C B(O)O [Si](C)(C)C [CH2] "
    "[NH] [NH3+] [O-] [N+](=O)[O-] N=[N+]=[N-] N(=O)=O [13CH3] [18OH] [S-] [SeH] C(F)(Cl)Br C=CC C(C)=NO N=NC I=O I(=O)=O "
    "IO S(F)(F)(F)(F)F S(=O)=O P(=O)=O P(=O)=NC P=O C=[N+]=[N-] [N+](C)(C)C [I+]C [BH3-] [C-]#[N+] C=S [AsH2] Cl(=O)=O "
    "[PH4] [SH5] C=C=C N=S=O S(C)(=O)=N"
).split()
SETS = [""] * 10 + [";H0", "H1", "H2", "+0", "+", "-"]


def random_rules(seed, wanted=80):
    """Made-up rules that RDKit takes; the same ones for the same seed."""
    rules, choose = {}, random.Random(seed).choice
    while len(rules) < wanted:
        reactant, products = choose(LIKELY_OR_NOT)
        smirks = f"{reactant}>>{choose(products).format(g=choose(GROUPS), h=choose(GROUPS), n=choose(SETS))}"
        try:
            if smirks not in rules and AllChem.ReactionFromSmarts(smirks).Validate(silent=True)[1] == 0:
                rules[smirks] = (f"random_{len(rules):02}", smirks, None)
        except ValueError:
            continue
    return list(rules.values())


def rules_of(args):
    return RULES if args.random is None else random_rules(args.random)


def print_rules(args):
    entries = []
    for name, smirks, query in rules_of(args):
        # the users' format groups the reactant in the SMIRKS only
        query = query or smirks.split(">>")[0].strip("()") if not smirks.startswith("(") else query
        entry = {"name": name, "code": name, "legacy_rule_id": name, "label": name, "family": "stranger"}
        entry |= {"scope_classes": ["any"], "query_smarts": query or smirks.split(">>")[0], "smirks": smirks}
        entries.append(entry)
    defaults = {"exclude_sugar_like": False, "max_sites_per_mol": -1}
    yaml.safe_dump({"defaults": defaults, "transforms": entries}, sys.stdout, sort_keys=False)


def allowed(mol, template, query):
    """The sites a query of another text leaves: its mapped atoms agree with a match of the query."""
    matches = mol.GetSubstructMatches(template, uniquify=False, maxMatches=oracle.MANY)
    if query is None:
        return matches, range(len(matches))
    of_map = {a.GetAtomMapNum(): a.GetIdx() for a in template.GetAtoms() if a.GetAtomMapNum()}
    shared = [(a.GetIdx(), of_map[a.GetAtomMapNum()]) for a in query.GetAtoms() if a.GetAtomMapNum() in of_map]
    found = mol.GetSubstructMatches(query, uniquify=False, maxMatches=oracle.MANY)
    keys = {tuple(match[q] for q, _ in shared) for match in found}
    return matches, [i for i, m in enumerate(matches) if tuple(m[t] for _, t in shared) in keys]


def expected(smirks, query, mols):
    reaction = AllChem.ReactionFromSmarts(smirks)
    reaction.Initialize()
    template = reaction.GetReactantTemplate(0)
    query = Chem.MolFromSmarts(query) if query else None
    unique, sites, failed = set(), 0, 0
    for mol in mols:
        matches, left = allowed(mol, template, query)
        sites += len(left)
        if not len(left):
            continue
        products = reaction.RunReactants((mol,), maxProducts=oracle.MANY)
        assert len(products) == len(matches), smirks
        for i in left:
            for product in products[i]:
                try:
                    Chem.SanitizeMol(product)
                    unique.add(Chem.MolToSmiles(Chem.RemoveHs(product)))
                except Exception:
                    failed += 1
                    break
    return unique, sites, failed


def compare(args):
    mols = [Chem.MolFromSmiles(s) for s in oracle.read_table(args.library, ["smiles"])["smiles"]]
    mols = [m for m in mols if m is not None]
    problems, acted, total = [], 0, 0
    rules = rules_of(args)
    for name, smirks, query in rules:
        unique, sites, failed = expected(smirks, query, mols)
        path = Path(args.ours) / f"{name}.parquet"
        ours = set(oracle.read_table(path, ["smiles"])["smiles"])
        problems += oracle.differences(name, ours, unique)
        counts = json.loads(Path(f"{path}.stats.json").read_text())["counts"]
        for what, wanted in (("sites_matched", sites), ("products_failed", failed)):
            if counts.get(what, 0) != wanted:
                problems.append(f"{name}: {what} is {counts.get(what, 0)}, should be {wanted}")
        acted += sites > 0
        total += len(unique)
        if args.verbose:
            print(f"{name}: {sites} sites, {len(unique)} unique products, {failed} failed")
    print(f"{len(mols)} parents, {len(rules)} rules of which {acted} acted, {total} unique products")
    return oracle.report(problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("rules")
    command.set_defaults(run=print_rules)
    command.add_argument("--random", metavar="SEED")
    command = commands.add_parser("compare")
    command.set_defaults(run=compare)
    command.add_argument("--random", metavar="SEED")
    command.add_argument("--library", required=True)
    command.add_argument("--ours", required=True)
    command.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
