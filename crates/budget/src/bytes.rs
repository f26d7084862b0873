//! Sizes as people type them and as the program means them.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::rss;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The default memory limit is never above this, whatever the machine has.
const DEFAULT_CEILING: u64 = 2 * GIB;

/// Unit texts, longest first so that `MiB` is not taken for `B`.
const UNITS: [(&str, u64); 9] = [
    ("KiB", KIB),
    ("MiB", MIB),
    ("GiB", GIB),
    ("TiB", TIB),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// A number of bytes.
///
/// Parsed from a whole number and a unit (`512MiB`, `2GB`; the unit is required). `Display` gives
/// the exact value in the largest binary unit that divides it, so it parses back to the same
/// number; `{:#}` rounds for reading (`117.7 MiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// A text that is no size. Keeps what the user typed and states the form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a whole number followed by a known unit.
    #[error(
        "`{text}` is not a size; write a whole number and a unit, as in `512MiB` \
         (units: B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)"
    )]
    Form {
        /// What was typed.
        text: String,
    },
    /// The number does not fit in 64 bits of bytes.
    #[error("`{text}` is more than 64 bits of bytes can say")]
    TooLarge {
        /// What was typed.
        text: String,
    },
    /// Zero where a limit is needed.
    #[error(
        "`{text}` is no limit; there is no \"0 means unlimited\", write a size such as `512MiB`"
    )]
    Zero {
        /// What was typed.
        text: String,
    },
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let form = || SizeError::Form {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        if number.is_empty() {
            return Err(form());
        }
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim_start())
            .ok_or_else(form)?;
        let too_large = || SizeError::TooLarge {
            text: text.to_owned(),
        };
        let number: u64 = number.parse().map_err(|_| too_large())?;
        number
            .checked_mul(*factor)
            .map(ByteSize)
            .ok_or_else(too_large)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BINARY: [(&str, u64); 4] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];
        let bytes = self.0;
        let text = if f.alternate() {
            match BINARY.iter().find(|(_, size)| bytes >= *size) {
                Some((name, size)) => format!("{:.1} {name}", bytes as f64 / *size as f64),
                None => format!("{bytes} B"),
            }
        } else {
            match BINARY
                .iter()
                .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size))
            {
                Some((name, size)) => format!("{}{name}", bytes / size),
                None => format!("{bytes}B"),
            }
        };
        f.pad(&text)
    }
}

/// The most resident memory the process may ever have, in bytes; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryLimit(NonZeroU64);

impl MemoryLimit {
    /// A limit of so many bytes; `None` for zero.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).map(Self)
    }

    /// The limit in bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0.get()
    }

    /// Half of what the machine or the cgroup of this process has, at most 2 GiB.
    #[must_use]
    pub fn machine_default() -> Self {
        let machine = rss::machine();
        let total = machine.cgroup_limit.unwrap_or(u64::MAX).min(machine.total);
        let bytes = (total / 2).min(DEFAULT_CEILING);
        // A machine whose memory cannot be read gets the ceiling.
        Self(
            NonZeroU64::new(bytes)
                .or(NonZeroU64::new(DEFAULT_CEILING))
                .unwrap_or(NonZeroU64::MIN),
        )
    }
}

impl FromStr for MemoryLimit {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let size: ByteSize = text.parse()?;
        Self::new(size.0).ok_or_else(|| SizeError::Zero {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ByteSize(self.bytes()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_what_they_say() {
        let size = |text: &str| text.parse::<ByteSize>().unwrap().0;
        assert_eq!(size("7B"), 7);
        assert_eq!(size("512MiB"), 512 << 20);
        assert_eq!(size("2 GiB"), 2 << 30);
        assert_eq!(size("1KB"), 1_000);
        assert_eq!(size("3TB"), 3_000_000_000_000);
    }

    #[test]
    fn errors_keep_the_text_and_state_the_form() {
        for text in [
            "512",
            "",
            "MiB",
            "-1MiB",
            "1.5GiB",
            "12mib",
            "12 parsecs",
            "0x10B",
        ] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
            assert!(error.contains("512MiB"), "{error}");
        }
        assert!(matches!(
            "99999999999TiB".parse::<ByteSize>(),
            Err(SizeError::TooLarge { .. })
        ));
        assert!(matches!(
            "0MiB".parse::<MemoryLimit>(),
            Err(SizeError::Zero { .. })
        ));
    }

    #[test]
    fn rounded_text_is_for_reading() {
        assert_eq!(format!("{:#}", ByteSize(123_456_789)), "117.7 MiB");
        assert_eq!(ByteSize(1536 << 20).to_string(), "1536MiB");
    }

    #[test]
    fn the_default_is_positive_and_capped() {
        let limit = MemoryLimit::machine_default().bytes();
        assert!((1..=DEFAULT_CEILING).contains(&limit));
    }

    proptest! {
        #[test]
        fn display_parses_back(bytes in any::<u64>(), shift in 0_u32..50) {
            for size in [ByteSize(bytes), ByteSize((bytes >> shift) << shift)] {
                prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = text.parse::<MemoryLimit>();
        }
    }
}
