//! The cost of a library along its rows, in a fixed number of bytes, and the shards cut from it.

use halocline_table::plan_file::Shard;

use crate::args::Balance;
use crate::molecule::Estimate;

/// Blocks a profile holds at most. Beyond, neighbours are joined: a block is then 2, 4, 8 … rows,
/// a function of the number of rows alone. A boundary is off by at most half a block: with at least
/// 2^14 blocks, the largest of 100 shards exceeds the mean by less than one block in 164.
const MOST_BLOCKS: usize = 1 << 15;

/// Sums over consecutive rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Rows.
    pub rows: u64,
    /// Estimated cost.
    pub cost: u64,
    /// Heavy atoms.
    pub heavy_atoms: u64,
    /// Reactive sites.
    pub sites: u64,
    /// Expected products.
    pub products: u64,
    /// Bytes of SMILES text.
    pub text_bytes: u64,
}

impl Sums {
    /// Adds other rows.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.cost = self.cost.saturating_add(other.cost);
        self.heavy_atoms += other.heavy_atoms;
        self.sites += other.sites;
        self.products = self.products.saturating_add(other.products);
        self.text_bytes += other.text_bytes;
    }
}

/// Costs along the rows of a library.
#[derive(Debug, Clone)]
pub struct Profile {
    blocks: Vec<Sums>,
    block_rows: u64,
    total: Sums,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            block_rows: 1,
            total: Sums::default(),
        }
    }
}

impl Profile {
    /// Most bytes a profile holds.
    pub const BYTES: u64 = (MOST_BLOCKS * size_of::<Sums>()) as u64;

    /// Adds the next row.
    pub fn push(&mut self, estimate: Estimate, text_bytes: u64) {
        let row = Sums {
            rows: 1,
            cost: estimate.cost,
            heavy_atoms: estimate.heavy_atoms,
            sites: estimate.sites,
            products: estimate.products,
            text_bytes,
        };
        match self.blocks.last_mut() {
            Some(block) if block.rows < self.block_rows => block.add(row),
            _ => {
                if self.blocks.len() == MOST_BLOCKS {
                    self.join();
                }
                self.blocks.push(row);
            }
        }
        self.total.add(row);
    }

    fn join(&mut self) {
        for pair in 0..self.blocks.len() / 2 {
            let mut sum = self.blocks[2 * pair];
            sum.add(self.blocks[2 * pair + 1]);
            self.blocks[pair] = sum;
        }
        self.blocks.truncate(self.blocks.len() / 2);
        self.block_rows *= 2;
    }

    /// Sums over all rows.
    #[must_use]
    pub fn total(&self) -> Sums {
        self.total
    }

    /// Rows at which `n` shards begin and the last ends (`n + 1` numbers): exact shares of the
    /// rows, or each boundary where the cost so far is nearest to its share.
    #[must_use]
    pub fn boundaries(&self, n: u64, balance: Balance) -> Vec<u64> {
        if balance == Balance::Rows {
            let rows = u128::from(self.total.rows);
            return (0..=n)
                .map(|k| (rows * u128::from(k) / u128::from(n)) as u64)
                .collect();
        }
        let total: u128 = self.blocks.iter().map(|b| u128::from(b.cost)).sum();
        let mut rows = vec![0];
        let (mut block, mut row, mut sum) = (0, 0u64, 0u128);
        for shard in 1..n {
            let target = total * u128::from(shard);
            while let Some(next) = self.blocks.get(block) {
                let with = sum + u128::from(next.cost);
                // In units of 1/n: is the boundary behind this block nearer than the one before?
                if (with * u128::from(n)).abs_diff(target) >= (sum * u128::from(n)).abs_diff(target)
                {
                    break;
                }
                sum = with;
                row += next.rows;
                block += 1;
            }
            rows.push(row);
        }
        rows.push(self.total.rows);
        rows
    }

    /// Sums between consecutive `boundaries`. Rows of a block that a boundary cuts are counted in
    /// proportion.
    #[must_use]
    pub fn between(&self, boundaries: &[u64]) -> Vec<Sums> {
        let mut sums = Vec::with_capacity(boundaries.len().saturating_sub(1));
        let mut blocks = self.blocks.iter();
        let mut left = blocks.next().copied().unwrap_or_default();
        for pair in boundaries.windows(2) {
            let mut need = pair[1] - pair[0];
            let mut sum = Sums::default();
            while need > 0 && left.rows > 0 {
                if left.rows <= need {
                    need -= left.rows;
                    sum.add(left);
                    left = blocks.next().copied().unwrap_or_default();
                } else {
                    let part =
                        |x: u64| (u128::from(x) * u128::from(need) / u128::from(left.rows)) as u64;
                    let taken = Sums {
                        rows: need,
                        cost: part(left.cost),
                        heavy_atoms: part(left.heavy_atoms),
                        sites: part(left.sites),
                        products: part(left.products),
                        text_bytes: part(left.text_bytes),
                    };
                    left = Sums {
                        rows: left.rows - need,
                        cost: left.cost - taken.cost,
                        heavy_atoms: left.heavy_atoms - taken.heavy_atoms,
                        sites: left.sites - taken.sites,
                        products: left.products - taken.products,
                        text_bytes: left.text_bytes - taken.text_bytes,
                    };
                    sum.add(taken);
                    need = 0;
                }
            }
            sums.push(sum);
        }
        sums
    }

    /// The shards of a plan.
    #[must_use]
    pub fn shards(&self, n: u64, balance: Balance) -> Vec<Shard> {
        let boundaries = self.boundaries(n, balance);
        let sums = self.between(&boundaries);
        (0..n)
            .zip(boundaries.windows(2).zip(sums))
            .map(|(index, (rows, sum))| Shard {
                index,
                start: rows[0],
                end: rows[1],
                cost: sum.cost as f64,
            })
            .collect()
    }

    /// Largest cost over mean cost of `n` shards; 1 for a library without rows.
    #[must_use]
    pub fn skew(&self, n: u64, balance: Balance) -> f64 {
        let sums = self.between(&self.boundaries(n, balance));
        let largest = sums.iter().map(|s| s.cost).max().unwrap_or(0);
        if self.total.cost == 0 {
            return 1.0;
        }
        largest as f64 * n as f64 / self.total.cost as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(costs: impl IntoIterator<Item = u64>) -> Profile {
        let mut profile = Profile::default();
        for cost in costs {
            profile.push(
                Estimate {
                    cost,
                    heavy_atoms: 1,
                    ..Estimate::default()
                },
                2,
            );
        }
        profile
    }

    #[test]
    fn shards_follow_each_other_and_cost_the_same() {
        let p = profile((0..100_000).map(|n| 1 + n / 100));
        for n in [1, 2, 7, 32, 1000] {
            let shards = p.shards(n, Balance::Cost);
            assert_eq!(shards.len() as u64, n);
            assert_eq!((shards[0].start, shards[n as usize - 1].end), (0, 100_000));
            assert!(shards.windows(2).all(|w| w[0].end == w[1].start));
            let mean = p.total().cost as f64 / n as f64;
            let largest = shards.iter().map(|s| s.cost).fold(0.0, f64::max);
            // A block of the dearest rows costs twice the mean block.
            assert!(
                largest <= (1.0 + n as f64 * 2.0 / 16_384.0) * mean,
                "{n}: {}",
                largest / mean
            );
        }
        assert!(p.skew(32, Balance::Rows) > 1.9);
        assert!(p.skew(32, Balance::Cost) < 1.01);
    }

    #[test]
    fn few_rows_and_many_shards() {
        let p = profile([5, 5]);
        let shards = p.shards(5, Balance::Cost);
        assert_eq!(shards.iter().map(|s| s.end - s.start).sum::<u64>(), 2);
        assert!(shards.iter().all(|s| s.end - s.start <= 1));
        let empty = Profile::default().shards(3, Balance::Cost);
        assert!(empty.iter().all(|s| s.start == 0 && s.end == 0));
        // One row as dear as all others together does not drag its neighbours along.
        let p = profile([1, 1, 1000, 1, 1]);
        assert_eq!(p.boundaries(3, Balance::Cost), [0, 2, 3, 5]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_between_boundaries(
            costs in proptest::collection::vec(1u64..1000, 0..300), n in 1u64..20,
        ) {
            let p = profile(costs.iter().copied());
            let b = p.boundaries(n, Balance::Cost);
            proptest::prop_assert!(b.windows(2).all(|w| w[0] <= w[1]));
            let sums = p.between(&b);
            proptest::prop_assert_eq!(sums.iter().map(|s| s.cost).sum::<u64>(), costs.iter().sum::<u64>());
            proptest::prop_assert_eq!(sums.iter().map(|s| s.rows).sum::<u64>(), costs.len() as u64);
        }
    }
}
