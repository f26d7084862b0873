//! Exit codes of all binaries.

/// The work is done.
pub const DONE: u8 = 0;
/// The data broke a contract (different schemas, a duplicate key, a wrong count).
pub const BROKEN: u8 = 1;
/// Usage, I/O, or a limit.
pub const USAGE: u8 = 2;
/// Ended by SIGINT after removing temporary files.
pub const SIGINT: u8 = 130;
/// Ended by SIGTERM after removing temporary files.
pub const SIGTERM: u8 = 143;
