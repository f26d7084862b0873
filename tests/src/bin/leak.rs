//! Takes memory and touches it until it has `MIB` mebibytes, then ends well. The memory harness must catch it.
//!
//! `leak MIB`

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mib: usize = std::env::args()
        .nth(1)
        .context("usage: leak MIB")?
        .parse()?;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for n in 0..mib {
        kept.push(vec![u8::try_from(n % 251)? + 1; 1 << 20]);
    }
    let sum: u64 = kept
        .iter()
        .map(|chunk| u64::from(chunk[chunk.len() / 2]))
        .sum();
    anyhow::ensure!(sum >= mib as u64, "memory was not written");
    Ok(())
}
