//! A parent whose products outgrow the memory limit: what is said of it, and of what the rows behind it need.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use arrow::array::Array;
use halocline_budget::ByteSize;
use halocline_chem::{ChemError, Kernel, SmilesBatch};

use crate::args::Config;
use crate::parents::{BATCH_BYTES, ParentSource};
use crate::shard::kernels;

/// How long the rows behind are looked at before the run ends.
const LOOK: Duration = Duration::from_secs(20);

/// A parent whose products need more than they may have.
#[derive(Debug)]
pub(crate) struct Outgrown {
    pub row: u64,
    /// Upper estimate of its products.
    pub products: u64,
    /// And of their bytes.
    pub bytes: u64,
    /// What they may have.
    pub had: u64,
}

impl std::fmt::Display for Outgrown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.products == 0 {
            return write!(
                f,
                "row {} has a SMILES so long that RDKit needs {:#} for it",
                self.row,
                ByteSize(self.bytes)
            );
        }
        write!(
            f,
            "row {} gives about {} products, which need {:#} at once",
            self.row,
            self.products,
            ByteSize(self.bytes)
        )
    }
}

impl std::error::Error for Outgrown {}

impl Outgrown {
    /// The error with its hint. `limit_for`: a limit under which a parent may have so many bytes.
    pub(crate) fn say(
        mut self,
        config: &Config,
        rest: &Rest,
        limit_for: impl Fn(u64) -> ByteSize,
    ) -> anyhow::Error {
        // The kernel reckons as if every intermediate gave as many new products as the first ones.
        if rest.outgrown.bytes > self.had {
            self.products = self.products.min(rest.outgrown.products);
            self.bytes = self.bytes.min(rest.outgrown.bytes);
        }
        let limit = limit_for(self.bytes.max(rest.bytes));
        let until = if rest.all {
            String::new()
        } else {
            format!(" up to row {}", rest.looked_until)
        };
        anyhow!(
            "{self}; --memory-limit {} leaves one parent {:#}, with any --threads\nhint: --memory-limit {limit} would do for \
             this row and those behind it{until}, and --max-products N rejects such rows whatever the limit",
            config.limit,
            ByteSize(self.had),
        )
    }
}

/// What one parent comes to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    products: u64,
    bytes: u64,
}

/// What the rows that were left need.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Estimate of the largest need of one of them.
    pub bytes: u64,
    /// And of the row that outgrew its memory; zero when it was not come to.
    pub outgrown: Need,
    /// The row looked at last.
    pub looked_until: u64,
    /// Time was enough for all of them.
    pub all: bool,
}

impl Rest {
    /// Makes the products of the first step of every row in `rows`, and from their number estimates those of all steps.
    pub(crate) fn look(config: &Config, rows: Range<u64>, outgrown: u64) -> anyhow::Result<Self> {
        let input = config.input.as_ref().context("no library is open")?;
        let mut kernels = kernels(config)?;
        for kernel in &mut kernels {
            kernel.set_max_product_bytes(BATCH_BYTES);
        }
        let mut source = ParentSource::new(config, input, rows.clone(), u64::MAX)?;
        let mut rest = Self {
            bytes: 0,
            outgrown: Need::default(),
            looked_until: rows.start,
            all: true,
        };
        let start = Instant::now();
        while let Some(parents) = source.next()? {
            for i in 0..parents.smiles.len() {
                let row = parents.first_row + i as u64;
                if parents.smiles.is_null(i) || config.quarantine.contains_key(&row) {
                    continue;
                }
                if start.elapsed() > LOOK {
                    rest.all = false;
                    return Ok(rest);
                }
                let smiles = parents.smiles.value(i);
                let mut need = Need::default();
                for kernel in &mut kernels {
                    kernel.set_first_row(row);
                    let one = need_of(kernel, smiles, config)?;
                    need.products += one.products;
                    need.bytes += one.bytes;
                }
                rest.bytes = rest.bytes.max(need.bytes);
                if row == outgrown {
                    rest.outgrown = need;
                }
                rest.looked_until = row;
            }
        }
        Ok(rest)
    }
}

/// Estimate of what one parent needs, in the bytes the kernel counts.
fn need_of(kernel: &mut Kernel, smiles: &str, config: &Config) -> anyhow::Result<Need> {
    let mut batch = SmilesBatch::new();
    batch.push(smiles);
    let results = match kernel.run(&batch, 1) {
        Ok(results) => results,
        Err(ChemError::Outgrown {
            products, bytes, ..
        }) => return Ok(Need { products, bytes }),
        Err(other) => return Err(other.into()),
    };
    let sites = results.num_products() as u64;
    let longest = results
        .products()
        .map(|p| p.smiles.len())
        .max()
        .unwrap_or(0);
    let capped = results.counts().iter().any(|c| c.capped > 0);
    let depth = u64::from(config.depth);
    let mut products = sites;
    for step in 2..=depth {
        // In whichever order the sites are taken, it is one product. Not so where a cap moves on to further sites.
        let orders = if capped { 1 } else { step };
        products = products.saturating_mul(sites) / orders;
    }
    // A row with more is rejected before it has them.
    let products = products.min(config.chemistry.max_products);
    let added = longest.saturating_sub(smiles.len()) as u64;
    let each = 4 * (smiles.len() as u64 + depth * added) + 400;
    Ok(Need {
        products,
        bytes: products.saturating_mul(each),
    })
}
