//! The parallel step: a batch of parents through a kernel, into plain columns per table.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use halocline_cascade::Weigh;
use halocline_chem::{ChemError, Counts, Kernel, Profile, Results, Stage};

use crate::gate::Gate;
use crate::isolate::Quarantined;
use crate::outgrown::Outgrown;
use crate::parents::Parents;
use crate::rows::Rows;

/// A kernel that has held more text than this is not kept: its columns keep their room, and no reservation covers it.
const KEPT_TEXT_BYTES: usize = 1 << 20;

/// A parent, or one site of it, that gave no product.
#[derive(Debug)]
pub(crate) struct Reject {
    pub parent: u32,
    /// Index of the reaction; `None` for the whole molecule.
    pub reaction: Option<u32>,
    pub stage: Stage,
    pub site: Option<i32>,
    pub reason: String,
}

/// What a batch of parents became.
pub(crate) struct Reacted {
    pub parents: Parents,
    pub rows: Rows,
    pub rejects: Vec<Reject>,
    /// One per reaction.
    pub counts: Vec<Counts>,
    pub profile: Profile,
}

impl Weigh for Reacted {
    fn bytes(&self) -> u64 {
        let rejects: usize = self
            .rejects
            .iter()
            .map(|r| r.reason.capacity() + size_of::<Reject>())
            .sum();
        self.parents.bytes() + (self.rows.heap_bytes() + rejects + size_of::<Self>()) as u64
    }
}

/// A group of reactions that go through a kernel together, and where their products go.
pub(crate) struct Group {
    /// Index of the group's first reaction in the configuration.
    pub first_reaction: usize,
    /// Idle kernels: as many as threads have needed at once.
    kernels: Mutex<Vec<Kernel>>,
    /// Table of each reaction, or of all.
    pub tables: Tables,
}

/// Which table a product goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// The table with the index of the (first and only step's) reaction.
    PerReaction,
    /// This table.
    One(usize),
}

impl Group {
    pub(crate) fn new(first_reaction: usize, kernels: Vec<Kernel>, tables: Tables) -> Self {
        Self {
            first_reaction,
            kernels: Mutex::new(kernels),
            tables,
        }
    }

    /// A kernel for this thread: an idle one, or a new one.
    fn take(&self, make: impl FnOnce() -> anyhow::Result<Kernel>) -> anyhow::Result<Kernel> {
        let idle = self
            .kernels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(make, Ok)
    }

    fn put(&self, kernel: Kernel) {
        self.kernels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(kernel);
    }

    pub(crate) fn into_kernels(self) -> Vec<Kernel> {
        self.kernels
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is the same for every batch of a shard.
pub(crate) struct Job<'a> {
    pub groups: Vec<Group>,
    pub num_tables: usize,
    pub num_reactions: usize,
    pub depth: u32,
    /// Index of the labels of a path of a group's rules.
    pub label_of: &'a (dyn Fn(&[u16], usize) -> u32 + Sync),
    /// A kernel for the group with this index.
    pub make: &'a (dyn Fn(usize) -> anyhow::Result<Kernel> + Sync),
    /// Rows that are rejected unseen.
    pub quarantine: &'a BTreeMap<u64, Quarantined>,
    /// Held while a thread works.
    pub gate: &'a Gate,
    /// Bytes the products of one parent may take while all threads work.
    pub share: u64,
    /// And while no other does.
    pub alone: u64,
}

/// What the kernels made of a batch.
type Made = (Rows, Vec<Reject>, Vec<Counts>, Profile);

/// Runs one batch through every group. A parent whose products are more than a thread's share runs again with what all
/// threads have together, while no other thread works.
///
/// # Errors
/// When a kernel fails as a whole, or a parent's products outgrow even that ([`Outgrown`]): rejecting it would make the
/// tables depend on the memory limit.
pub(crate) fn react(parents: Parents, job: &Job<'_>) -> anyhow::Result<Reacted> {
    let made = {
        let _working = job.gate.enter();
        attempt(&parents, job, job.share)?
    };
    let made = match made {
        Ok(made) => Ok(made),
        Err(outgrown) if job.alone <= job.share => Err(outgrown),
        Err(Outgrown { row, .. }) => {
            let _alone = job.gate.enter_alone();
            tracing::debug!("row {row} runs alone");
            attempt(&parents, job, job.alone)?
        }
    };
    let (rows, rejects, counts, profile) = made?;
    Ok(Reacted {
        parents,
        rows,
        rejects,
        counts,
        profile,
    })
}

/// One run through every group, the products of a parent bounded by `bytes`.
fn attempt(parents: &Parents, job: &Job<'_>, bytes: u64) -> anyhow::Result<Result<Made, Outgrown>> {
    let quarantine = job.quarantine;
    let batch = parents.batch(&|row| quarantine.contains_key(&row));
    let mut rows = Rows::default();
    let mut rejects = Vec::new();
    let mut counts = vec![Counts::default(); job.num_reactions];
    let mut profile = Profile::default();
    let apart = job.groups.len() > 1;
    for (index, group) in job.groups.iter().enumerate() {
        let mut kernel = group.take(|| (job.make)(index))?;
        kernel.set_first_row(parents.first_row);
        // What the groups before this one gave is there too.
        let taken = rows.heap_bytes() as u64;
        kernel.set_max_product_bytes(bytes.saturating_sub(taken));
        let keep = {
            let results = match kernel.run(&batch, job.depth) {
                Ok(results) => results,
                // The kernel goes with all that it holds of the parent.
                Err(ChemError::Outgrown {
                    row,
                    products,
                    bytes: needed,
                }) => {
                    return Ok(Err(Outgrown {
                        row: parents.first_row + u64::from(row),
                        products,
                        bytes: needed.saturating_add(taken),
                        had: bytes,
                    }));
                }
                Err(other) => return Err(other.into()),
            };
            collect(&results, group, &mut rows, job.label_of);
            for failure in results.failures() {
                // A parent that cannot be read is rejected once, by the first group that had to read it. Its time or the
                // number of its products is of one group: where each rule is its own, of that rule.
                let whole = failure.rule.is_none() && (!apart || failure.stage == Stage::Parse);
                let is_same = |r: &Reject| r.reaction.is_none() && r.parent == failure.row;
                if whole && index > 0 && rejects.iter().any(is_same) {
                    continue;
                }
                let known = quarantine.get(&(parents.first_row + u64::from(failure.row)));
                rejects.push(match known {
                    Some(known) => Reject {
                        parent: failure.row,
                        reaction: None,
                        stage: known.stage(),
                        site: None,
                        reason: known.reason.clone(),
                    },
                    None => Reject {
                        parent: failure.row,
                        reaction: (!whole).then(|| {
                            u32::from(failure.rule.unwrap_or(0)) + group.first_reaction as u32
                        }),
                        stage: failure.stage,
                        site: failure.site,
                        reason: failure.reason.to_owned(),
                    },
                });
            }
            for (sum, count) in counts[group.first_reaction..]
                .iter_mut()
                .zip(results.counts())
            {
                sum.add(&count);
            }
            profile.add(&results.profile());
            results.text_bytes() <= KEPT_TEXT_BYTES
        };
        if keep {
            group.put(kernel);
        }
    }
    rows.arrange(job.num_tables);
    rejects.sort_by_key(|r| (r.parent, r.reaction, r.site));
    Ok(Ok((rows, rejects, counts, profile)))
}

fn collect(
    results: &Results<'_>,
    group: &Group,
    rows: &mut Rows,
    label_of: &(dyn Fn(&[u16], usize) -> u32 + Sync),
) {
    rows.reserve(results);
    // Products come sorted by path within a parent: the label of a path is looked up once per run of it.
    let mut last: Option<(&[u16], u32)> = None;
    for product in results.products() {
        let table = match group.tables {
            Tables::PerReaction => usize::from(product.path[0]),
            Tables::One(table) => table,
        };
        let label = match last {
            Some((path, label)) if path == product.path => label,
            _ => label_of(product.path, group.first_reaction),
        };
        last = Some((product.path, label));
        rows.push(&product, label, table);
    }
}
