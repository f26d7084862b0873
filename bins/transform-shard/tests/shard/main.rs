//! `halo-transform-shard` as a person runs it: tables, order, rejects, plans, resume, depth, refusals.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod depth;
mod refusals;
mod resume;
mod same_bytes;
mod tables;
