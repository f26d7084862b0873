//! What a batch gave: products and failures as borrowed views of the kernel's columns.

use halocline_chem_sys::ffi;

use crate::ChemError;

/// Where a molecule or a product failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The SMILES could not be read or sanitised.
    Parse,
    /// Finding the sites failed.
    Match,
    /// `runReactants` failed.
    React,
    /// The product did not sanitise.
    Sanitise,
    /// The product could not be written.
    Write,
    /// A budget of products or time was spent.
    Limit,
    /// The process died on it. No kernel says this of itself; it is for whoever watched the process.
    Crash,
}

impl Stage {
    /// The name used in the rejects table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Match => "match",
            Self::React => "react",
            Self::Sanitise => "sanitise",
            Self::Write => "write",
            Self::Limit => "limit",
            Self::Crash => "crash",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [
            Self::Parse,
            Self::Match,
            Self::React,
            Self::Sanitise,
            Self::Write,
            Self::Limit,
        ]
        .get(usize::from(code))
        .copied()
    }
}

/// One product of one parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product<'a> {
    /// Row of the parent in the batch.
    pub row: u32,
    /// Rule index of each step, `depth` of them.
    pub path: &'a [u16],
    /// Depth 1: index of the site among the parent's matches. Deeper: ordinal among the parent's products of this path.
    pub site: i32,
    /// Canonical isomeric SMILES.
    pub smiles: &'a str,
    /// Matched atoms as indices into the parent, in query order, step after step; -1 for an atom a step had added.
    pub atoms: &'a [i32],
}

/// A molecule, or one site of it, that gave no product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Row of the parent in the batch.
    pub row: u32,
    /// Rule index; `None` when the molecule as a whole is rejected.
    pub rule: Option<u16>,
    /// Site index; `None` when the molecule as a whole is rejected.
    pub site: Option<i32>,
    /// Where it failed.
    pub stage: Stage,
    /// RDKit's words.
    pub reason: &'a str,
}

/// Sums over a batch for one rule. With `depth` above 1 the intermediates count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sites found.
    pub matched: u64,
    /// Of these, skipped by the sugar mask.
    pub masked: u64,
    /// Of these, cut by the cap.
    pub capped: u64,
    /// Products before any deduplication.
    pub products: u64,
    /// Products that could not be made, sanitised or written.
    pub failed: u64,
}

impl Counts {
    /// Adds another batch's sums.
    pub fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.masked += other.masked;
        self.capped += other.capped;
        self.products += other.products;
        self.failed += other.failed;
    }
}

/// Nanoseconds a batch spent per stage, and which lanes its molecules took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    /// Reading SMILES.
    pub parse_ns: u64,
    /// Finding sites.
    pub match_ns: u64,
    /// Local edits.
    pub edit_ns: u64,
    /// `runReactants` and sanitising.
    pub full_ns: u64,
    /// Writing canonical SMILES.
    pub write_ns: u64,
    /// Parents that took the light parse.
    pub light_parsed: u64,
    /// Products made by a local edit.
    pub edited: u64,
    /// Of these, products that took the text of a site alike by symmetry.
    pub shared: u64,
}

impl Profile {
    /// Adds another batch's sums.
    pub fn add(&mut self, other: &Self) {
        self.parse_ns += other.parse_ns;
        self.match_ns += other.match_ns;
        self.edit_ns += other.edit_ns;
        self.full_ns += other.full_ns;
        self.write_ns += other.write_ns;
        self.light_parsed += other.light_parsed;
        self.edited += other.edited;
        self.shared += other.shared;
    }
}

/// The results of one batch, borrowed from the kernel.
pub struct Results<'a> {
    kernel: &'a ffi::Kernel,
    text: &'a str,
    failure_text: &'a [u8],
    depth: usize,
}

impl<'a> Results<'a> {
    pub(crate) fn new(kernel: &'a ffi::Kernel, depth: usize) -> Result<Self, ChemError> {
        let text = std::str::from_utf8(kernel.product_text()).map_err(|error| {
            ChemError::Kernel(format!("RDKit wrote SMILES that are not UTF-8: {error}"))
        })?;
        Ok(Self {
            kernel,
            text,
            failure_text: kernel.failure_text(),
            depth,
        })
    }

    /// Products in the batch.
    #[must_use]
    pub fn num_products(&self) -> usize {
        self.kernel.product_rows().len()
    }

    /// Bytes of product SMILES in the batch.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Matched atoms of all products in the batch.
    #[must_use]
    pub fn num_site_atoms(&self) -> usize {
        self.kernel.site_atoms().len()
    }

    /// Products ordered by row, rule path and site.
    pub fn products(&self) -> impl Iterator<Item = Product<'a>> + use<'a> {
        let kernel = self.kernel;
        let (text, depth) = (self.text, self.depth);
        let rows = kernel.product_rows();
        let ends = kernel.product_ends();
        let paths = kernel.product_paths();
        let sites = kernel.product_sites();
        let atoms = kernel.site_atoms();
        let atom_ends = kernel.site_atom_ends();
        (0..rows.len()).map(move |i| Product {
            row: rows[i],
            path: &paths[i * depth..(i + 1) * depth],
            site: sites[i],
            smiles: &text[start(ends, i)..ends[i] as usize],
            atoms: &atoms[start(atom_ends, i)..atom_ends[i] as usize],
        })
    }

    /// Failures ordered by row.
    pub fn failures(&self) -> impl Iterator<Item = Failure<'a>> + use<'a> {
        let kernel = self.kernel;
        let text = self.failure_text;
        let rows = kernel.failure_rows();
        let rules = kernel.failure_rules();
        let sites = kernel.failure_sites();
        let stages = kernel.failure_stages();
        let ends = kernel.failure_ends();
        (0..rows.len()).map(move |i| Failure {
            row: rows[i],
            rule: u16::try_from(rules[i]).ok(),
            site: Some(sites[i]).filter(|site| *site >= 0),
            stage: Stage::from_code(stages[i]).unwrap_or(Stage::React),
            // RDKit quotes the input, which may be cut inside a character.
            reason: lossless(&text[start(ends, i)..ends[i] as usize]),
        })
    }

    /// Sums per rule, in the order the kernel was given them.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.kernel
            .rule_counts()
            .chunks_exact(5)
            .map(|c| Counts {
                matched: c[0],
                masked: c[1],
                capped: c[2],
                products: c[3],
                failed: c[4],
            })
            .collect()
    }

    /// Time per stage.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let slots = self.kernel.stage_nanos();
        Profile {
            parse_ns: slots[0],
            match_ns: slots[1],
            edit_ns: slots[2],
            full_ns: slots[3],
            write_ns: slots[4],
            light_parsed: slots[5],
            edited: slots[6],
            shared: slots[7],
        }
    }
}

fn start(ends: &[u64], i: usize) -> usize {
    if i == 0 { 0 } else { ends[i - 1] as usize }
}

/// The longest valid UTF-8 prefix.
fn lossless(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}
