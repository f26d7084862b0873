//! Safe batch chemistry over RDKit: parse, match, react, canonicalise.
//!
//! The identity of a molecule, its canonical SMILES text, is made here and nowhere else. A [`Kernel`] compiles the
//! reactions once and applies all of them to a batch of parents, each parsed once. A molecule that fails is data: it
//! comes back as a [`Failure`] with the stage and RDKit's words. Only a rule that cannot be compiled, or a broken
//! kernel, is an error.
//!
//! What a *site* is: a match of the SMIRKS' reactant template (all of them, symmetric ones included), whose mapped atoms
//! agree with a match of the query SMARTS where that is another text, that lies neither in nor on a sugar ring (where the
//! rule says so), and that is among the first `max_sites` in canonical-rank order (where the rule has a cap).
#![forbid(unsafe_code)]

mod results;

pub use results::{Counts, Failure, Product, Profile, Results, Stage};

use std::time::Duration;

use halocline_chem_sys::{RDKIT_ORIGIN, ffi};
use halocline_rules::Reaction;

/// What can go wrong apart from the molecules.
#[derive(Debug, thiserror::Error)]
pub enum ChemError {
    /// Rules that RDKit, or the kernel, does not take: all of them, each with its id and RDKit's words.
    #[error("{}", listed(.0))]
    Rules(Vec<(String, String)>),
    /// The products of one parent outgrew [`Kernel::set_max_product_bytes`]. An error and no [`Failure`]: what a
    /// molecule gives must not depend on the memory there is.
    #[error(
        "the products of row {row} of the batch, about {products} of {bytes} bytes together, outgrew their memory"
    )]
    Outgrown {
        /// Row of the parent in the batch.
        row: u32,
        /// Products it would have come to, estimated.
        products: u64,
        /// Bytes they would have taken, estimated.
        bytes: u64,
    },
    /// The kernel itself failed: a bug, or memory ran out.
    #[error("the chemistry kernel failed: {0}")]
    Kernel(String),
}

/// Which route products take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `runReactants`, sanitise, `MolToSmiles` for every site: the reference.
    Full,
    /// Local edits where a rule and a site allow it, the full route elsewhere. Same rows.
    Auto,
}

/// What holds for every batch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Products of one parent past which that parent is rejected whole.
    pub max_products: u64,
    /// Bytes of a SMILES past which it is rejected unread.
    pub max_smiles_bytes: u64,
    /// Wall-clock time for one parent past which it is rejected whole; checked between products.
    pub row_timeout: Option<Duration>,
    /// Route of the products.
    pub engine: Engine,
    /// The input is canonical SMILES of this very RDKit, so that the light parse is exact.
    pub trusted_input: bool,
}

/// [`Options::max_smiles_bytes`] unless told otherwise: of longer ones it is not known how much memory RDKit takes. The
/// longest of COCONUT has under 2,000.
pub const MAX_SMILES_BYTES: u64 = 6000;

impl Default for Options {
    fn default() -> Self {
        Self {
            max_products: 1_000_000,
            max_smiles_bytes: MAX_SMILES_BYTES,
            row_timeout: None,
            engine: Engine::Auto,
            trusted_input: false,
        }
    }
}

/// Rows of SMILES, one after the other in one buffer.
#[derive(Clone, Debug, Default)]
pub struct SmilesBatch {
    text: Vec<u8>,
    ends: Vec<u64>,
}

impl SmilesBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `rows` of `bytes` together.
    #[must_use]
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(rows),
        }
    }

    /// Appends a row.
    pub fn push(&mut self, smiles: &str) {
        self.text.extend_from_slice(smiles.as_bytes());
        self.ends.push(self.text.len() as u64);
    }

    /// Rows held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// No rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets the rows, keeps the buffers.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// Compiled reactions with their scratch space. One per thread.
pub struct Kernel {
    inner: halocline_chem_sys::UniquePtr<ffi::Kernel>,
    depth_of_results: usize,
}

impl Kernel {
    /// Compiles `reactions`; rule indices in the results are positions in this slice.
    ///
    /// # Errors
    /// [`ChemError::Rules`] with every reaction RDKit does not take, and RDKit's words.
    pub fn new(reactions: &[Reaction], options: &Options) -> Result<Self, ChemError> {
        ffi::silence_rdkit();
        let native = ffi::KernelOptions {
            max_products: options.max_products,
            max_smiles_bytes: options.max_smiles_bytes,
            weighed_smiles_bytes: MAX_SMILES_BYTES,
            row_timeout_ms: options.row_timeout.map_or(0, |limit| {
                u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1)
            }),
            local_edits: options.engine == Engine::Auto,
            trusted_input: options.trusted_input,
        };
        let texts: Vec<ffi::ReactionText> = reactions.iter().map(text_of).collect();
        // One by one first, so that the error names the rules.
        let refused = |(reaction, text): (&Reaction, &ffi::ReactionText)| {
            let error = ffi::new_kernel(std::slice::from_ref(text), &native).err()?;
            Some((reaction.id.clone(), shortened(error.what())))
        };
        let bad: Vec<_> = reactions.iter().zip(&texts).filter_map(refused).collect();
        if !bad.is_empty() {
            return Err(ChemError::Rules(bad));
        }
        let inner = ffi::new_kernel(&texts, &native)
            .map_err(|error| ChemError::Kernel(error.what().to_owned()))?;
        Ok(Self {
            inner,
            depth_of_results: 1,
        })
    }

    /// Applies every reaction to every row, `depth` times in succession, and lends the results until the next call.
    ///
    /// # Errors
    /// [`ChemError::Outgrown`] when a parent's products need more memory than they may have, [`ChemError::Kernel`] when the
    /// batch as a whole fails; a failing molecule is in [`Results::failures`] instead.
    pub fn run(&mut self, batch: &SmilesBatch, depth: u32) -> Result<Results<'_>, ChemError> {
        self.inner
            .pin_mut()
            .run(&batch.text, &batch.ends, depth)
            .map_err(|error| match *self.inner.overrun() {
                [row, products, bytes] => ChemError::Outgrown {
                    row: row as u32,
                    products,
                    bytes,
                },
                _ => ChemError::Kernel(error.what().to_owned()),
            })?;
        self.depth_of_results = depth as usize;
        Results::new(&self.inner, self.depth_of_results)
    }

    /// Says which row of the library row 0 of the next batch is; only [`watch_rows`] looks at it.
    pub fn set_first_row(&mut self, row: u64) {
        self.inner.pin_mut().set_first_row(row);
    }

    /// Bounds the bytes the products of one parent may take, the caller's copy of them included; a parent that passes it
    /// ends the batch with [`ChemError::Outgrown`]. No bound until this is called.
    pub fn set_max_product_bytes(&mut self, bytes: u64) {
        self.inner.pin_mut().set_max_product_bytes(bytes);
    }

    /// Per rule: the map numbers that only its products have, comma separated, which is most often a slip of the pen.
    /// RDKit makes such an atom anew in every product.
    #[must_use]
    pub fn product_only_maps(&self) -> Vec<String> {
        (0..self.inner.num_rules())
            .map(|rule| self.inner.product_only_maps(rule))
            .collect()
    }

    /// Per rule: `None` when it is a local edit, else why it takes the full route.
    #[must_use]
    pub fn explain(&self) -> Vec<Option<String>> {
        (0..self.inner.num_rules())
            .map(|rule| Some(self.inner.explain_rule(rule)).filter(|why| !why.is_empty()))
            .collect()
    }
}

/// Lets every kernel of this process note the row it is at in the file behind `fd` (shared memory, `bytes` long, zeros):
/// 16 bytes per kernel, the row plus one (0: none) and the milliseconds of the monotonic clock at its start, both u64 in
/// the machine's byte order. Another process that has the file can say which rows this one was at when it died or hung.
///
/// # Errors
/// [`ChemError::Kernel`] when the file cannot be mapped.
pub fn watch_rows(fd: i32, bytes: usize) -> Result<(), ChemError> {
    ffi::watch_rows(fd, bytes).map_err(|error| ChemError::Kernel(error.what().to_owned()))
}

/// One bad rule on the line of the error, several on lines of their own.
fn listed(bad: &[(String, String)]) -> String {
    let lines: Vec<String> = bad
        .iter()
        .map(|(rule, reason)| format!("rule `{rule}`: {reason}"))
        .collect();
    match lines.as_slice() {
        [one] => one.clone(),
        many => format!(
            "{} rules cannot be used:\n  {}",
            many.len(),
            many.join("\n  ")
        ),
    }
}

/// RDKit repeats the whole pattern, which may have 4 KB.
fn shortened(reason: &str) -> String {
    const MOST: usize = 400;
    let mut cut: String = reason.chars().take(MOST).collect();
    if cut.len() < reason.len() {
        cut.push('…');
    }
    cut
}

fn text_of(reaction: &Reaction) -> ffi::ReactionText {
    ffi::ReactionText {
        smirks: reaction.smirks.clone(),
        query: reaction.query_smarts.clone().unwrap_or_default(),
        max_sites: reaction.max_sites.map_or(-1, i64::from),
        exclude_sugar_like: reaction.exclude_sugar_like,
    }
}

/// Version of the RDKit that is linked, e.g. `2022.09.3`. Canonical SMILES differ between versions.
#[must_use]
pub fn rdkit_version() -> String {
    ffi::rdkit_version()
}

/// Where the build found RDKit.
#[must_use]
pub fn rdkit_origin() -> &'static str {
    RDKIT_ORIGIN
}
