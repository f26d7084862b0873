//! What a molecule will cost, from the text of its SMILES.
//!
//! One pass over the characters builds the bonds (no sanitising, no aromaticity, no canonical
//! form), then counts what the rules react with. A microsecond per molecule, against 50 to 150 for
//! RDKit's parser. It need not be right about every molecule, only about many: a shard is
//! thousands of rows. Text that is no SMILES costs what its letters look like.

use clap::ValueEnum;

/// Nanoseconds of a product: so many per heavy atom, and so many more for each heavy atom.
struct ProductTime {
    per_atom: u64,
    per_atom_and_atom: u64,
}

// Least squares of relative errors over 320 shards of a polyphenol 2X library of 552,571 rows sorted by number of phenols
// (0 to 68 products each, 16 rules; 32 to 8,800 rows a shard), release build, 2026-11-27: none off by more than 28 %, and
// 32 shards cut by them by 12 %. In nanoseconds; only the ratios matter.

/// Per heavy atom of a parent of plain text, which is not sanitised again.
const LIGHT_PARSE: u64 = 1520;
/// Per heavy atom of a parent of other text.
const FULL_PARSE: u64 = 3660;
/// Per product, whatever its size.
const PRODUCT: u64 = 1090;
/// A product that is written from the parent's tables.
const FLAT: ProductTime = ProductTime {
    per_atom: 167,
    per_atom_and_atom: 0,
};
/// A product that is written from an edited molecule.
const STEREO: ProductTime = ProductTime {
    per_atom: 1370,
    per_atom_and_atom: 8,
};
/// A product of the whole reaction.
const FULL_ROUTE: ProductTime = ProductTime {
    per_atom: 6380,
    per_atom_and_atom: 0,
};
/// Aromatic bonds shared by aromatic rings from which on halo-transform-shard sanitises (`has_fragile_aromaticity`).
const MANY_FUSED: usize = 7;

/// Bytes of a text that are looked at: the longest SMILES of COCONUT has under 2,000. What is kept of a molecule is 40 times
/// its text, and nothing reserves it.
const MOST_READ: usize = 16 << 10;

/// The work that is to be divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// The functional-group rules: one product per site and rule
    Transform,
    /// Halogenation, two successive substitutions by four halogens
    Halogenate,
}

/// What the text says about a molecule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Atoms other than hydrogen.
    pub heavy_atoms: u64,
    /// Sites the work's rules react at.
    pub sites: u64,
    /// Products to expect (before deduplication).
    pub products: u64,
    /// Time, in nanoseconds of the machine the coefficients were measured on. Only ratios matter.
    pub cost: u64,
}

/// Reads SMILES one after the other; keeps its buffers.
#[derive(Debug, Default)]
pub struct Estimator {
    atoms: Vec<Atom>,
    bonds: Vec<(u32, u32, Order)>,
    branches: Vec<u32>,
    rings: Vec<(u32, u32, Order)>,
    /// Of each atom one that is nearer to the first of its aromatic system.
    systems: Vec<u32>,
    sizes: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Unsaid,
    Single,
    Double,
    Triple,
    Aromatic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    C,
    N,
    O,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Atom {
    element: Element,
    aromatic: bool,
    /// Hydrogens, where brackets say; else they follow from the valence.
    hydrogens: Option<u8>,
    charged: bool,
    parent: u32,
    ring: bool,
    degree: u8,
    aromatic_bonds: u8,
    /// Sum of bond orders, an aromatic bond counting one.
    valence: u8,
    saturated: bool,
    carbonyl: bool,
}

const NONE: u32 = u32::MAX;

impl Estimator {
    /// The estimate for one SMILES.
    pub fn estimate(&mut self, smiles: &str, work: Work) -> Estimate {
        self.read(&smiles.as_bytes()[..smiles.len().min(MOST_READ)]);
        let heavy_atoms = self.atoms.len() as u64;
        let (sites, products) = match work {
            Work::Transform => self.transform_sites(),
            Work::Halogenate => self.halogen_sites(),
        };
        // Reading a parent (parse, match) and making a product (edit, canonical SMILES) are both
        // linear in the atoms to within the noise.
        let (parse, product) = self.times(smiles);
        // As many as `MOST_READ` at most: hostile text does not overflow.
        let atoms = heavy_atoms.max(1);
        let (parent, product) = (
            parse * atoms,
            PRODUCT + (product.per_atom + product.per_atom_and_atom * atoms) * atoms,
        );
        let (products, cost) = match work {
            Work::Transform => (products, parent + products * product),
            // Every product of the first step is a parent of the second.
            Work::Halogenate => {
                let second = parent + products * product;
                (products * products, parent + products * (product + second))
            }
        };
        Estimate {
            heavy_atoms,
            sites,
            products,
            cost,
        }
    }

    /// How a molecule is parsed, and what becomes of its products.
    ///
    /// Why a molecule takes which way is said in `crates/chem-sys/src/lane.h`; here are the reasons that text shows.
    fn times(&mut self, smiles: &str) -> (u64, ProductTime) {
        if smiles.contains('.') || self.fused_bonds() >= MANY_FUSED {
            return (FULL_PARSE, FULL_ROUTE);
        }
        if smiles.contains(['@', '/', '\\']) {
            return (FULL_PARSE, STEREO);
        }
        let brackets = smiles.matches('[').count();
        if brackets > smiles.matches("[nH]").count() {
            return (FULL_PARSE, FLAT);
        }
        (LIGHT_PARSE, FLAT)
    }

    /// Aromatic bonds that two rings share, about: of each fused system of `r` rings and `e` bonds 6 `r` - `e`, as if all
    /// rings were of six.
    fn fused_bonds(&mut self) -> usize {
        // Fewer fusions have fewer shared bonds than matter.
        if self.atoms.iter().filter(|a| a.aromatic_bonds > 2).count() < MANY_FUSED {
            return 0;
        }
        self.systems.clear();
        self.systems.extend(0..self.atoms.len() as u32);
        for (a, b, _) in self.bonds.iter().filter(|b| is_aromatic(&self.atoms, b)) {
            let (a, b) = (root(&mut self.systems, *a), root(&mut self.systems, *b));
            self.systems[a.max(b) as usize] = a.min(b);
        }
        // Atoms and twice the bonds of each system.
        self.sizes.clear();
        self.sizes.resize(self.atoms.len(), (0, 0));
        for i in 0..self.atoms.len() {
            let size = &mut self.sizes[root(&mut self.systems, i as u32) as usize];
            *size = (
                size.0 + 1,
                size.1 + usize::from(self.atoms[i].aromatic_bonds),
            );
        }
        let shared = self.sizes.iter().map(|(atoms, ends)| {
            let bonds = ends / 2;
            match (bonds + 1).saturating_sub(*atoms) {
                0 => 0,
                rings @ 1..=2 => rings - 1,
                rings => (6 * rings).saturating_sub(bonds),
            }
        });
        shared.sum()
    }

    /// Sites of the four families and products of their 4, 9, 3 and 3 rules.
    fn transform_sites(&self) -> (u64, u64) {
        let (mut phenol, mut aryl_amine, mut alkyl_amine, mut carboxyl) = (0u64, 0, 0, 0);
        for (a, b, order) in &self.bonds {
            if !matches!(order, Order::Single | Order::Unsaid) {
                continue;
            }
            for (anchor, end) in [(a, b), (b, a)] {
                let (anchor, end) = (self.atoms[*anchor as usize], self.atoms[*end as usize]);
                if end.degree != 1 || end.charged || anchor.element != Element::C {
                    continue;
                }
                match end.element {
                    Element::O if end.hydrogens.is_none_or(|h| h == 1) => {
                        phenol += u64::from(anchor.aromatic);
                        carboxyl += u64::from(anchor.carbonyl);
                    }
                    Element::N if end.hydrogens.is_none_or(|h| h == 2) => {
                        aryl_amine += u64::from(anchor.aromatic);
                        alkyl_amine += u64::from(anchor.saturated && !anchor.aromatic);
                    }
                    _ => {}
                }
            }
        }
        let sites = phenol + aryl_amine + alkyl_amine + carboxyl;
        (
            sites,
            4 * phenol + 9 * aryl_amine + 3 * alkyl_amine + 3 * carboxyl,
        )
    }

    /// Sites of the halogenation rules under the usual caps, and products of one step.
    fn halogen_sites(&self) -> (u64, u64) {
        let (mut sp2, mut sp3, mut others) = (0u64, 0u64, 0u64);
        for atom in &self.atoms {
            if atom.element != Element::C {
                continue;
            }
            let full = if atom.aromatic { 3 } else { 4 };
            let hydrogens = atom
                .hydrogens
                .unwrap_or_else(|| u8::saturating_sub(full, atom.valence));
            if atom.aromatic {
                sp2 += u64::from(hydrogens == 1);
            } else if atom.ring && (hydrogens == 1 || hydrogens == 2) {
                sp3 += 1;
            }
        }
        for (a, b, order) in &self.bonds {
            let (a, b) = (self.atoms[*a as usize], self.atoms[*b as usize]);
            let hydroxyl = |x: Atom| x.element == Element::O && x.degree == 1 && !x.charged;
            let single = matches!(order, Order::Single | Order::Unsaid);
            let carboxyl = (a.carbonyl && hydroxyl(b)) || (b.carbonyl && hydroxyl(a));
            others += u64::from(single && carboxyl);
        }
        let sites = sp2.min(12) + sp3.min(6) + others.min(3);
        (sites, 4 * sites)
    }

    fn read(&mut self, text: &[u8]) {
        self.atoms.clear();
        self.bonds.clear();
        self.branches.clear();
        self.rings.clear();
        let mut last = NONE;
        let mut order = Order::Unsaid;
        // Marking ring atoms walks the tree; hostile text could make that quadratic.
        let mut steps = 64 * text.len();
        let mut at = 0;
        while at < text.len() {
            let byte = text[at];
            at += 1;
            match byte {
                b'-' | b'/' | b'\\' => order = Order::Single,
                b'=' => order = Order::Double,
                b'#' | b'$' => order = Order::Triple,
                b':' => order = Order::Aromatic,
                b'.' => {
                    last = NONE;
                    order = Order::Unsaid;
                }
                b'(' => self.branches.push(last),
                b')' => {
                    last = self.branches.pop().unwrap_or(last);
                    order = Order::Unsaid;
                }
                b'0'..=b'9' | b'%' => {
                    let mut number = u32::from(byte.wrapping_sub(b'0'));
                    if byte == b'%' {
                        number = 0;
                        for _ in 0..2 {
                            if let Some(digit) = text.get(at).filter(|d| d.is_ascii_digit()) {
                                number = number * 10 + u32::from(digit - b'0');
                                at += 1;
                            }
                        }
                    }
                    self.ring_digit(number, last, order, &mut steps);
                    order = Order::Unsaid;
                }
                b'[' => {
                    let end = text[at..].iter().position(|b| *b == b']');
                    let inside = &text[at..end.map_or(text.len(), |e| at + e)];
                    at += inside.len() + usize::from(end.is_some());
                    if let Some(atom) = bracket(inside) {
                        last = self.add(atom, last, order);
                    }
                    order = Order::Unsaid;
                }
                b'A'..=b'Z' | b'a'..=b'z' | b'*' => {
                    let next = text.get(at).copied();
                    if (byte == b'C' && next == Some(b'l')) || (byte == b'B' && next == Some(b'r'))
                    {
                        at += 1;
                    }
                    let aromatic = byte.is_ascii_lowercase();
                    let element = match (byte.to_ascii_uppercase(), next) {
                        (b'C', Some(b'l')) if byte == b'C' => Element::Other,
                        (b'C', _) => Element::C,
                        (b'N', _) => Element::N,
                        (b'O', _) => Element::O,
                        _ => Element::Other,
                    };
                    last = self.add(new_atom(element, aromatic), last, order);
                    order = Order::Unsaid;
                }
                _ => {}
            }
        }
        self.close();
    }

    fn add(&mut self, mut atom: Atom, last: u32, order: Order) -> u32 {
        let index = self.atoms.len() as u32;
        atom.parent = last;
        self.atoms.push(atom);
        if last != NONE {
            self.bonds.push((last, index, order));
        }
        index
    }

    fn ring_digit(&mut self, number: u32, atom: u32, order: Order, steps: &mut usize) {
        if atom == NONE {
            return;
        }
        let Some(open) = self.rings.iter().position(|(n, _, _)| *n == number) else {
            self.rings.push((number, atom, order));
            return;
        };
        let (_, other, first) = self.rings.swap_remove(open);
        self.bonds.push((
            other,
            atom,
            if first == Order::Unsaid { order } else { first },
        ));
        // The ring: both ends up to where their paths meet. Parents have smaller indices.
        let (mut a, mut b) = (atom, other);
        while a != b && *steps > 0 {
            *steps -= 1;
            let high = a.max(b);
            if high == NONE {
                break;
            }
            self.atoms[high as usize].ring = true;
            let up = self.atoms[high as usize].parent;
            if a == high {
                a = up;
            } else {
                b = up;
            }
            if up == NONE {
                break;
            }
        }
        if a == b && a != NONE {
            self.atoms[a as usize].ring = true;
        }
    }

    fn close(&mut self) {
        for i in 0..self.bonds.len() {
            let aromatic = is_aromatic(&self.atoms, &self.bonds[i]);
            let (a, b, order) = &self.bonds[i];
            let (a, b) = (*a as usize, *b as usize);
            let value = match order {
                Order::Double => 2,
                Order::Triple => 3,
                _ => 1,
            };
            for (here, there) in [(a, b), (b, a)] {
                let carbonyl = *order == Order::Double && self.atoms[there].element == Element::O;
                let atom = &mut self.atoms[here];
                atom.degree = atom.degree.saturating_add(1);
                atom.valence = atom.valence.saturating_add(value);
                atom.saturated &= value == 1;
                atom.carbonyl |= carbonyl;
                atom.aromatic_bonds = atom.aromatic_bonds.saturating_add(u8::from(aromatic));
            }
        }
    }
}

fn is_aromatic(atoms: &[Atom], (a, b, order): &(u32, u32, Order)) -> bool {
    let both = atoms[*a as usize].aromatic && atoms[*b as usize].aromatic;
    both && matches!(order, Order::Unsaid | Order::Aromatic)
}

/// The first atom of the system of `i`; shortens the way there.
fn root(systems: &mut [u32], mut i: u32) -> u32 {
    while systems[i as usize] != i {
        let above = systems[systems[i as usize] as usize];
        systems[i as usize] = above;
        i = above;
    }
    i
}

fn new_atom(element: Element, aromatic: bool) -> Atom {
    Atom {
        element,
        aromatic,
        hydrogens: None,
        charged: false,
        parent: NONE,
        ring: false,
        degree: 0,
        aromatic_bonds: 0,
        valence: 0,
        saturated: true,
        carbonyl: false,
    }
}

/// The atom in brackets; `None` for a hydrogen.
fn bracket(inside: &[u8]) -> Option<Atom> {
    let isotope = inside.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &inside[isotope..];
    let first = *rest.first()?;
    let second = rest.get(1).filter(|b| b.is_ascii_lowercase());
    let aromatic = first.is_ascii_lowercase();
    let (element, used) = match (first, second) {
        (b'H', None) => return None,
        (b'c', None) | (b'C', None) => (Element::C, 1),
        (b'n', None) | (b'N', None) => (Element::N, 1),
        (b'o', None) | (b'O', None) => (Element::O, 1),
        (_, Some(_)) => (Element::Other, 2),
        (_, None) => (Element::Other, 1),
    };
    let mut atom = new_atom(element, aromatic);
    let tail = &rest[used.min(rest.len())..];
    let mut hydrogens = 0;
    if let Some(at) = tail.iter().position(|b| *b == b'H') {
        hydrogens = tail
            .get(at + 1)
            .filter(|b| b.is_ascii_digit())
            .map_or(1, |b| b - b'0');
    }
    atom.hydrogens = Some(hydrogens);
    atom.charged = tail.iter().any(|b| matches!(b, b'+' | b'-'));
    Some(atom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(smiles: &str) -> (u64, u64, u64) {
        let e = Estimator::default().estimate(smiles, Work::Transform);
        (e.heavy_atoms, e.sites, e.products)
    }

    #[test]
    fn sites_are_found_in_the_text() {
        // Atoms by RDKit; sites by the query SMARTS of configs/transforms.yaml.
        assert_eq!(transform("Oc1ccccc1"), (7, 1, 4));
        assert_eq!(transform("c1ccccc1O"), (7, 1, 4));
        assert_eq!(
            transform("O=c1cc(-c2ccc(O)c(O)c2)oc2cc(O)cc(O)c12"),
            (21, 4, 16)
        );
        assert_eq!(transform("Nc1ccccc1"), (7, 1, 9));
        assert_eq!(transform("NCC(=O)O"), (5, 2, 6));
        assert_eq!(transform("N[C@@H](C)C(O)=O"), (6, 2, 6));
        assert_eq!(transform("[NH3+]CC(=O)[O-]"), (5, 0, 0));
        assert_eq!(transform("COc1ccccc1"), (8, 0, 0));
        assert_eq!(transform("CC(=O)Oc1ccccc1C(=O)O"), (13, 1, 3));
        assert_eq!(transform("NC(=O)c1ccccc1"), (9, 0, 0));
        assert_eq!(transform("[2H]OC"), (2, 0, 0));
        assert_eq!(transform("ClCCBr"), (4, 0, 0));
        assert_eq!(transform("C1CC1.Oc1c(F)cccc1[N+](=O)[O-]"), (14, 1, 4));
        assert_eq!(transform("c1ccc%12ccccc%12c1"), (10, 0, 0));
    }

    #[test]
    fn halogen_sites_know_rings() {
        let sites = |s: &str| Estimator::default().estimate(s, Work::Halogenate).sites;
        assert_eq!(sites("c1ccccc1"), 6);
        assert_eq!(sites("CCCC"), 0);
        assert_eq!(sites("C1CCCCC1C"), 6);
        assert_eq!(sites("Cc1ccc2[nH]ccc2c1"), 5);
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_cost(text in "\\PC{0,300}") {
            let mut estimator = Estimator::default();
            for work in [Work::Transform, Work::Halogenate] {
                proptest::prop_assert!(estimator.estimate(&text, work).cost > 0);
            }
        }
    }

    #[test]
    fn fused_bonds_are_those_that_aromatic_rings_share() {
        let fused = |s: &str| {
            let mut estimator = Estimator::default();
            estimator.read(s.as_bytes());
            estimator.fused_bonds()
        };
        // Benzo[ghi]perylene and coronene; perylene's six and four naphthalenes are too few to matter.
        assert_eq!(fused("c1cc2ccc3ccc4ccc5cccc6c(c1)c2c3c4c56"), 9);
        assert_eq!(fused("c1cc2ccc3ccc4ccc5ccc6ccc1c1c2c3c4c5c61"), 12);
        assert_eq!(fused("c1cc2cccc3c4cccc5cccc(c(c1)c23)c54"), 6);
        assert_eq!(fused(&["c1ccc2ccccc2c1"; 4].join(".")), 4);
        assert_eq!(fused(&["Oc1ccccc1"; 20].join("")), 0);
    }

    #[test]
    fn hostile_text_is_linear() {
        let start = std::time::Instant::now();
        let mut text = "C".repeat(200_000);
        text.push_str(&"C1".repeat(200_000));
        let long = Estimator::default().estimate(&text, Work::Transform);
        assert_eq!(long.heavy_atoms, MOST_READ as u64);
        let open = "C%10".repeat(50_000) + &"(".repeat(100_000);
        Estimator::default().estimate(&open, Work::Halogenate);
        assert!(start.elapsed().as_secs() < 5);
    }
}
