//! Tells a process from its copies that `fork` made.

use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// Returns a number that a process shares with no copy of it: how many copies lie between it and its first ancestor that
/// executed a program. The id alone doesn't tell them apart, because the first process of each PID namespace has the id
/// 1.
pub(crate) fn generation() -> u64 {
    static GENERATION: AtomicU64 = AtomicU64::new(1);
    let Some(mark) = mark() else { return std::process::id().into() };
    // The kernel has cleared the mark in a copy. Two threads of it must not both count.
    if mark.compare_exchange(0, 1, Relaxed, Relaxed).is_ok() {
        GENERATION.fetch_add(1, Relaxed);
    }
    GENERATION.load(Relaxed)
}

/// Returns a number that is zero in a copy of this process until it is set there. `None` if the kernel can't do that.
fn mark() -> Option<&'static AtomicU32> {
    static MARK: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();
    *MARK.get_or_init(|| {
        let (protection, size) = (ProtFlags::READ | ProtFlags::WRITE, rustix::param::page_size());
        // SAFETY: the mapping is anonymous, and with a null address the kernel chooses a free range, so no existing
        // mapping is replaced.
        let page = unsafe { mmap_anonymous(null_mut(), size, protection, MapFlags::PRIVATE) }.ok()?;
        // SAFETY: the range is the mapping that was just created. The advice clears it in a copy of this process, and
        // zeros are a valid value of what is stored there.
        unsafe { madvise(page, size, Advice::LinuxWipeOnFork) }.ok()?;
        // SAFETY: the mapping is page-aligned, large enough, readable, writable and never unmapped. Its zeros are a
        // valid value, and an atomic can be shared.
        let mark: &AtomicU32 = unsafe { &*page.cast() };
        mark.store(1, Relaxed);
        Some(mark)
    })
}
