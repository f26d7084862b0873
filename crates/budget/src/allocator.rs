//! The allocator's part of the memory promise.
//!
//! mimalloc serves the whole process (its `override` feature takes RDKit's C++ too). By default
//! it keeps freed pages resident for a while (`purge_delay`, 10 ms and more for arenas), and asks
//! for transparent huge pages; both make the resident set larger than what is in use. The crate
//! feature `no_thp` switches the second off, this module the first.

/// Makes freed pages go back to the system at once, so that RSS follows the reservations.
#[expect(unsafe_code, reason = "mimalloc's options have no safe door")]
pub(crate) fn return_freed_pages_at_once() {
    /// `mi_option_purge_delay` of mimalloc 2 and 3 (`include/mimalloc.h`).
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: `mi_option_set` stores one integer in mimalloc's option table; it takes no pointer,
    // and any option number below the last is valid.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}
