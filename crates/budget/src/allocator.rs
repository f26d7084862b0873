//! The allocator's part of the memory promise.
//!
//! mimalloc serves the whole process (its `override` feature takes RDKit's C++ too). It keeps freed
//! pages resident for a while (`purge_delay`), keeps them per thread and size class for reuse, and
//! asks for transparent huge pages; all make the resident set larger than what is in use. The
//! crate feature `no_thp` switches the last off, this module the first two.

/// Makes freed pages go back to the system at once, so that RSS follows the reservations.
#[expect(unsafe_code, reason = "mimalloc's options have no safe door")]
pub(crate) fn return_freed_pages_at_once() {
    /// `mi_option_purge_delay` of mimalloc 2 and 3 (`include/mimalloc.h`).
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: `mi_option_set` stores one integer in mimalloc's option table; it takes no pointer,
    // and any option number below the last is valid.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) }
}

/// Takes so many bytes from the system, writes to each of their pages, and gives them back. See
/// [`crate::Budget::touch_reserved`].
pub fn touch(bytes: u64) {
    const PAGE_BYTES: usize = 4096;
    let mut memory = vec![0_u8; usize::try_from(bytes).unwrap_or(0)];
    for page in memory.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    std::hint::black_box(&mut memory);
}

/// Gives back the pages this thread's heap keeps for reuse; for a thread about to sleep. Merging
/// on 16 threads, a thread that does not call it keeps 6.5 MiB, one that does 3 MiB (2026-11).
#[expect(unsafe_code, reason = "mimalloc's collection has no safe door")]
pub fn release_idle_pages() {
    // SAFETY: `mi_collect` works on the calling thread's own heap, which only this thread
    // allocates from; it takes no pointer and moves no live block.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
