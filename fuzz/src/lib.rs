//! What the fuzz targets share: bytes as a file that leaves nothing behind, and a bound on the memory a reader may take.
//!
//! The targets call the doors the programs call, by path. What a target asserts stands in its own file.

#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what fuzzing looks for"
)]

pub mod text_model;

use std::alloc::System;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use cap::Cap;

/// Counts the bytes of Rust code in use; more than [`within`] allows ends the process, which libFuzzer reports.
/// C code (zstd) is outside of it and inside `-rss_limit_mb`.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs `read` with at most `bytes` more than are in use now.
///
/// # Panics
/// When the process already uses more than the address space has.
pub fn within<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    let lift = || {
        ALLOCATOR
            .set_limit(usize::MAX)
            .expect("no limit is no limit")
    };
    ALLOCATOR
        .set_limit(ALLOCATOR.allocated() + bytes)
        .expect("the limit is above what is in use");
    let value = read();
    lift();
    value
}

/// Bytes that can be opened by path as long as this lives.
#[derive(Debug)]
pub struct MemoryFile {
    file: File,
}

impl MemoryFile {
    /// A file in memory that holds `bytes`.
    ///
    /// # Panics
    /// When the system has no memory for it.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let memory = rustix::fs::memfd_create("fuzz", flags).expect("memfd_create");
        let mut file = File::from(memory);
        file.write_all(bytes).expect("writing to memory");
        Self { file }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.file.as_raw_fd().to_string())
    }
}

/// An error for people says something, and can be shown however hostile the input was.
///
/// # Panics
/// When it does not.
pub fn check_error(error: &dyn std::error::Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    assert!(!text.trim().is_empty(), "an error without words");
    let shown = halocline_cli::legible(&text);
    assert!(shown.len() <= 64 << 10, "{} bytes of error", shown.len());
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
}

/// Is this a file name that means itself? Said here once more, in other words than `halocline_rules::is_safe_name`:
/// an oracle that asks the code under test finds nothing.
#[must_use]
pub fn is_plain_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let single = matches!(
        (parts.next(), parts.next()),
        (Some(std::path::Component::Normal(part)), None) if part == name
    );
    let odd = |c: char| !c.is_ascii_graphic() || "\"'`$&|;<>(){}[]*?!#~=%^,:@+\\/".contains(c);
    single && name.len() <= 128 && !name.starts_with(['.', '-']) && !name.contains(odd)
}
