//! Memory that processes share.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use rustix::fs::{OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::fault;

/// A part of a section in this process's memory. It stays as long as this, whatever becomes of descriptors of the
/// section.
#[derive(Debug)]
struct View {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the view is the process's, not a thread's; what is in it is only looked at by atomic operations.
unsafe impl Send for View {}
// SAFETY: likewise.
unsafe impl Sync for View {}

impl View {
    /// Maps so many bytes from this place on, a multiple of the [granularity].
    fn map(section: BorrowedFd<'_>, writing: bool, from: u64, length: usize) -> io::Result<Self> {
        // What isn't sealed can be made shorter by whoever has it, and then a look at it would be the end.
        if size_of_section(section)? as u64 <= from.saturating_add(length as u64).saturating_sub(1) {
            return Err(io::Error::other("the section has no memory there"));
        }
        // No slice can be longer.
        if isize::try_from(length).is_err() {
            return Err(Errno::NOMEM.into());
        }
        fault("mmap")?;
        let protection = if writing { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: the kernel lays the view where nothing else is. Nobody can take the memory away: it is sealed, and no
        // further than its end is mapped.
        let base = unsafe { mmap(null_mut(), length, protection, MapFlags::SHARED, section, from) };
        let base = NonNull::new(base?.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { base, length })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the view is ours, and nobody borrows from it any more.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// At which places of a section a view can begin.
fn granularity() -> u64 {
    rustix::param::page_size() as u64
}

/// How many bytes a section has.
pub(crate) fn size_of_section(section: BorrowedFd<'_>) -> io::Result<usize> {
    fault("fcntl")?;
    let seals = rustix::fs::fcntl_get_seals(section)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(io::Error::other("the section isn't sealed against becoming shorter"));
    }
    fault("fcntl")?;
    if rustix::fs::fcntl_getfl(section)?.contains(OFlags::WRONLY) {
        return Err(Errno::ACCESS.into());
    }
    fault("fstat")?;
    usize::try_from(rustix::fs::fstat(section)?.st_size).map_err(io::Error::other)
}

/// Any bytes of a section. Whoever has it can change them at any time, so they are atomic, and any value of theirs is
/// a possible one.
#[derive(Debug)]
pub(crate) struct Bytes {
    view: View,
    /// How many bytes stand in front of what was asked for.
    skipped: usize,
    length: usize,
}

impl Bytes {
    /// So many bytes, more than none, from this place on; the section has to have them.
    pub(crate) fn view(section: BorrowedFd<'_>, writing: bool, from: u64, length: usize) -> io::Result<Self> {
        let skipped = from % granularity();
        let mapped = usize::try_from(length as u64 + skipped).map_err(io::Error::other)?;
        let view = View::map(section, writing, from - skipped, mapped)?;
        Ok(Self { view, skipped: usize::try_from(skipped).map_err(io::Error::other)?, length })
    }

    /// All that the section has.
    pub(crate) fn whole(section: BorrowedFd<'_>, writing: bool) -> io::Result<Self> {
        let length = size_of_section(section)?;
        let view = View::map(section, writing, 0, length)?;
        Ok(Self { view, skipped: 0, length })
    }

    /// To look at; to change only if the view was made for writing.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        let first = self.view.base.as_ptr().wrapping_add(self.skipped).cast();
        // SAFETY: the view has room for what is skipped and for as many bytes, and lasts as long as this.
        unsafe { std::slice::from_raw_parts(first, self.length) }
    }

    /// The number at this place; `None` if it isn't all there, or not aligned.
    pub(crate) fn u32(&self, at: usize) -> Option<&AtomicU32> {
        let place = self.place::<AtomicU32>(at)?;
        // SAFETY: the number lies in the view, aligned, and the view lasts as long as this.
        Some(unsafe { place.as_ref() })
    }

    /// The number at this place; `None` if it isn't all there, or not aligned.
    pub(crate) fn u64(&self, at: usize) -> Option<&AtomicU64> {
        let place = self.place::<AtomicU64>(at)?;
        // SAFETY: as above.
        Some(unsafe { place.as_ref() })
    }

    fn place<T>(&self, at: usize) -> Option<NonNull<T>> {
        let inside = at.checked_add(size_of::<T>()).is_some_and(|end| end <= self.length);
        let place = self.view.base.as_ptr().wrapping_add(self.skipped).wrapping_add(at).cast::<T>();
        if inside && place.is_aligned() { NonNull::new(place) } else { None }
    }
}
