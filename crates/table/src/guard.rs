//! Decoders that panic on damaged bytes: their panics become errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a decoder; a panic becomes its message. On one line: a decoder quotes names, and damage can put a line break into one.
pub(crate) fn guard<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    quiet::install();
    let _quiet = quiet::Quiet::start();
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(format!(
            "the decoder gave up: {}",
            text.as_deref().unwrap_or("no reason given")
        ))
    });
    outcome.map_err(|text| text.replace('\n', "\\n"))
}

/// Panics that are caught and reported as errors print nothing of their own.
mod quiet {
    use std::cell::Cell;
    use std::panic;
    use std::sync::Once;

    thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
    static HOOK: Once = Once::new();

    pub(super) fn install() {
        HOOK.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if DEPTH.with(Cell::get) == 0 {
                    previous(info);
                }
            }));
        });
    }

    pub(super) struct Quiet;

    impl Quiet {
        pub(super) fn start() -> Self {
            DEPTH.with(|d| d.set(d.get() + 1));
            Self
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            DEPTH.with(|d| d.set(d.get() - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_decoder_speaks_on_one_line() {
        let said = guard(|| Err::<(), _>("expected field row got\now".to_owned()));
        assert_eq!(said, Err("expected field row got\\now".to_owned()));
        let said = guard(|| -> Result<(), String> { panic!("a\nb") });
        assert_eq!(said, Err("the decoder gave up: a\\nb".to_owned()));
    }
}
