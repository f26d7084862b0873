//! The door to RDKit: one opaque `Kernel` that takes a batch of SMILES and gives back flat vectors.
//!
//! Responsible for the bridge and the C++ behind it, nothing else; the safe, documented API is `halocline-chem`.
//! The door is crossed per batch, never per molecule: text and offsets in, columns and a status per row out. Every
//! function that can throw returns `Result`, and `src/trycatch.h` also stops exceptions that are not `std::exception`.
//!
//! A `Kernel` owns its reaction objects, its molecules and its output buffers and shares nothing with other kernels,
//! so one kernel may move between threads (`Send`) but not be used from two at once. RDKit's log, which *is* global,
//! is routed once to a buffer per thread.

#[allow(
    unsafe_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "written by cxx; the C++ names are documented in kernel.h"
)]
#[cxx::bridge(namespace = "halocline")]
pub mod ffi {
    /// One reaction as text; see `halocline_chem::ReactionSpec`.
    struct ReactionText {
        smirks: String,
        /// Empty: the SMIRKS' reactant template is the query.
        query: String,
        /// Sites kept per parent; negative keeps all.
        max_sites: i64,
        exclude_sugar_like: bool,
    }

    /// What holds for every row of a kernel.
    struct KernelOptions {
        /// Products of one parent past which the parent is rejected whole.
        max_products: u64,
        /// Bytes of a SMILES past which it is rejected unread.
        max_smiles_bytes: u64,
        /// And up to which the memory that RDKit takes for it is known, and weighed.
        weighed_smiles_bytes: u64,
        /// Wall-clock milliseconds for one parent past which it is rejected whole; 0 is no limit.
        row_timeout_ms: u64,
        /// `false` sends every site through `runReactants` and a full sanitise.
        local_edits: bool,
        /// The input is canonical SMILES of this RDKit: the light parse may be used.
        trusted_input: bool,
    }

    unsafe extern "C++" {
        include!("halocline-chem-sys/src/kernel.h");

        type Kernel;

        fn rdkit_version() -> String;
        fn boost_version() -> String;
        fn silence_rdkit();

        /// Maps `bytes` of the file `fd` and lets every kernel note there which row it is at: 16 bytes per kernel, the
        /// row plus one (0: none) and the steady clock's milliseconds at its start, in the machine's byte order.
        fn watch_rows(fd: i32, bytes: usize) -> Result<()>;

        fn new_kernel(rules: &[ReactionText], options: &KernelOptions)
        -> Result<UniquePtr<Kernel>>;
        /// One line per rule: empty when it is a local edit, else why it is not.
        fn explain_rule(self: &Kernel, rule: usize) -> String;
        /// Map numbers that stand in the products of a rule only, comma separated: RDKit makes such an atom anew.
        fn product_only_maps(self: &Kernel, rule: usize) -> String;
        fn num_rules(self: &Kernel) -> usize;
        /// Bytes the products of one parent may take, past which `run` throws.
        fn set_max_product_bytes(self: Pin<&mut Kernel>, bytes: u64);
        /// After `run` threw for that: the row in the batch, and how many products and bytes it would at most have come to,
        /// estimated from the share of the work that was done. Empty otherwise.
        fn overrun(self: &Kernel) -> &[u64];

        /// The number of row 0 of the next batch, for `watch_rows`.
        fn set_first_row(self: Pin<&mut Kernel>, row: u64);

        /// Clears the results and runs `depth` successive substitutions over the rows.
        /// `text` holds the SMILES one after the other, `ends[i]` is where row `i` ends.
        fn run(self: Pin<&mut Kernel>, text: &[u8], ends: &[u64], depth: u32) -> Result<()>;

        // Products, one entry each, in row order.
        fn product_text(self: &Kernel) -> &[u8];
        fn product_ends(self: &Kernel) -> &[u64];
        fn product_rows(self: &Kernel) -> &[u32];
        /// `depth` rule indices per product.
        fn product_paths(self: &Kernel) -> &[u16];
        fn product_sites(self: &Kernel) -> &[i32];
        fn site_atoms(self: &Kernel) -> &[i32];
        fn site_atom_ends(self: &Kernel) -> &[u64];

        // Failures, in row order. Stage: 0 parse, 1 match, 2 react, 3 sanitise, 4 write, 5 limit.
        fn failure_rows(self: &Kernel) -> &[u32];
        /// Rule index, or -1 when the molecule as a whole failed.
        fn failure_rules(self: &Kernel) -> &[i32];
        fn failure_sites(self: &Kernel) -> &[i32];
        fn failure_stages(self: &Kernel) -> &[u8];
        fn failure_text(self: &Kernel) -> &[u8];
        fn failure_ends(self: &Kernel) -> &[u64];

        /// Per rule: sites matched, masked, capped, products before deduplication, products that failed.
        fn rule_counts(self: &Kernel) -> &[u64];
        /// Nanoseconds per stage: parse, match, edit, full route, canonicalise; then rows parsed light, sites
        /// edited, and of these those that took the text of a site alike.
        fn stage_nanos(self: &Kernel) -> &[u64];
    }
}

// SAFETY: a `Kernel` owns every molecule, reaction and buffer it touches and keeps no reference to thread-local state
// between calls; RDKit's globals (periodic table, log) are initialised in `silence_rdkit` and only read afterwards.
#[expect(unsafe_code, reason = "moving a kernel to a worker thread; see SAFETY")]
unsafe impl Send for ffi::Kernel {}

pub use cxx::UniquePtr;

/// Where the build found RDKit, e.g. `/usr/include/rdkit` or `CONDA_PREFIX=/opt/conda`.
pub const RDKIT_ORIGIN: &str = env!("HALOCLINE_RDKIT_ORIGIN");
