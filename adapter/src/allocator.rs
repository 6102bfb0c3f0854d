//! How the program's memory is allocated.
#![allow(unsafe_code, reason = "the standard library does not set up the allocator")]

/// Makes all threads allocate from one arena of glibc, which otherwise makes one for each thread. An arena keeps pages
/// that it needed once. Catalogs and listings are made by one thread after the other, and each arena would keep as
/// much. Call it before there are other threads. Without glibc it does nothing.
pub(crate) fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number in the allocator, under the allocator's own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
