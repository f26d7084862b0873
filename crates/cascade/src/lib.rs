//! Streaming stages that hand data on by bytes: `halo-transform-shard` and `halo-dedup-merge` are chains of them.
//!
//! A stage takes items until its byte limit, then processes them and passes the result on; that
//! may fill the next stage, which passes on in turn. Limits cascade. Every byte on the way is
//! reserved from one `halocline_budget::Pool` before it exists, so a chain cannot outgrow it: a
//! stage that gets no bytes first lets the stages after it drain.
//!
//! | stage | what it does |
//! |---|---|
//! | [`Cascade::source`] | gives items, rests while enough of them wait |
//! | [`Chain::map`] | one item to one item, on several threads, order kept |
//! | [`Chain::buffer`] | collects until a byte limit, then processes the lot |
//! | [`Chain::accumulate`] | a state of its own ([`Accumulate`]); at its limit it flushes or keeps ([`After`]) |
//! | [`Chain::sink`] | takes every item, in order |
//!
//! [`Pressure`] watches the whole machine: when memory is short, stages pass on early and one item
//! is under way at a time. [`Adaptive`] turns a byte target into rows.
//!
//! The two programs keep what they accumulate: where their row groups end may not depend on how much memory the machine
//! has left. Pressure makes them take one batch at a time. They cut batches by estimated bytes, not by [`Adaptive`].
//!
//! Not responsible for what items are: no Arrow, no files, no molecules.
//!
//! # Example: limits that cascade
//!
//! ```
//! use halocline_budget::Pool;
//! use halocline_cascade::{Cascade, CascadeError, Emit};
//!
//! let pool = Pool::new(1 << 20);
//! let mut numbers = 0_u32..1_000;
//! let mut blocks = Vec::new();
//! Cascade::new(&pool)
//!     .threads(2)
//!     .source("numbers", 100, 1_000, || Ok(numbers.next()))
//!     .map("text", 1_000, |_| 100, |n: u32| Ok(n.to_string()))
//!     // op1: texts of 200 bytes become one line ...
//!     .buffer("lines", 200, |texts: Vec<String>, out: &mut Emit<'_, String>| {
//!         out.push(texts.join(" "));
//!         Ok(())
//!     })
//!     // ... op2: lines of 2,000 bytes become one block ...
//!     .buffer("blocks", 2_000, |lines: Vec<String>, out: &mut Emit<'_, String>| {
//!         out.push(lines.join("\n"));
//!         Ok(())
//!     })
//!     // ... op3: which is kept.
//!     .sink("keep", |block: String| {
//!         blocks.push(block);
//!         Ok::<(), std::io::Error>(())
//!     })
//!     .run()?;
//! let words: Vec<u32> = blocks
//!     .iter()
//!     .flat_map(|b| b.split_whitespace())
//!     .map(|w| w.parse().unwrap())
//!     .collect();
//! assert_eq!(words, (0..1_000).collect::<Vec<u32>>());
//! assert!(blocks.len() > 1);
//! assert_eq!(pool.reserved(), 0);
//! # Ok::<(), CascadeError<std::io::Error>>(())
//! ```
//!
//! # Example: a state that is kept
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::convert::Infallible;
//! use halocline_budget::Pool;
//! use halocline_cascade::{Accumulate, After, Cascade, CascadeError, Emit, Why};
//!
//! /// Lets the first of equal words through; knows all it has seen.
//! #[derive(Default)]
//! struct First {
//!     seen: BTreeSet<String>,
//!     bytes: u64,
//! }
//!
//! impl Accumulate for First {
//!     type In = String;
//!     type Out = String;
//!     type Error = Infallible;
//!
//!     fn take(&mut self, word: String, out: &mut Emit<'_, String>) -> Result<(), Infallible> {
//!         if self.seen.insert(word.clone()) {
//!             self.bytes += 2 * word.capacity() as u64 + 64; // the entry and its share of a node
//!             out.push(word);
//!         }
//!         Ok(())
//!     }
//!     fn bytes(&self) -> u64 {
//!         self.bytes
//!     }
//!     fn pass(&mut self, _: Why, _: &mut Emit<'_, String>) -> Result<(), Infallible> {
//!         Ok(()) // everything went on at once, nothing is held back
//!     }
//! }
//!
//! let pool = Pool::new(1 << 16);
//! let mut words = "the cat and the dog and the bird".split(' ');
//! let mut kept = Vec::new();
//! Cascade::new(&pool)
//!     .source("words", 64, 256, || Ok(words.next().map(str::to_owned)))
//!     .accumulate("first", 1 << 12, After::Keep, First::default())
//!     .sink("kept", |word| {
//!         kept.push(word);
//!         Ok(())
//!     })
//!     .run()?;
//! assert_eq!(kept, ["the", "cat", "and", "dog", "bird"]);
//! # Ok::<(), CascadeError<Infallible>>(())
//! ```

mod chain;
mod engine;
mod error;
mod limit;
mod link;
mod pressure;
mod stage;

pub use chain::{Cascade, Chain, Ready};
pub use engine::StageReport;
pub use error::CascadeError;
pub use limit::{Adaptive, After, Weigh};
pub use pressure::{DEFAULT_SHARE, Pressure};
pub use stage::{Accumulate, Emit, Why};
