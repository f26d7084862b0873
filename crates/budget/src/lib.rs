//! Bytes: how many the process may use, who holds them, and where they go when memory is short.
//!
//! Responsible for sizes and limits ([`ByteSize`], [`MemoryLimit`]), the pool of named
//! reservations ([`Pool`]), the promise of the whole process ([`Budget`]), spill files
//! ([`SpillDir`]), the probes of the process and the machine ([`rss`]), and for files that appear
//! only whole ([`publish`]).
//!
//! Not responsible for what the bytes mean: no Arrow, no molecules, no stages (those are
//! `halocline-cascade`).
//!
//! # How a limit is kept
//!
//! `--memory-limit` is about the peak resident set of the process (`VmHWM`), everything included.
//! [`Budget::start`] reads the resident set the process already has, sets [`slack`] bytes aside for
//! what no reservation can see (allocator fragmentation, thread stacks, code pages not touched
//! yet), and gives the rest to the pool. Every buffer that grows with the input holds a
//! [`Reservation`]; on refusal its owner flushes, spills or waits. There is no infallible growth.

mod allocator;
mod bytes;
mod pool;
mod process;
pub mod publish;
pub mod rss;
mod spill;

pub use allocator::{release_idle_pages, touch};
pub use bytes::{ByteSize, MemoryLimit, SizeError};
pub use pool::{OutOfBudget, Pool, Reservation};
pub use process::{Budget, BudgetError, MemoryFigures, slack};
pub use spill::{SpillDir, SpillError, SpillFile, in_memory};
