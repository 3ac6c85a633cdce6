//! Shared memory and its mapped views.

use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::fs::{OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::SysError;
use super::SysResult;
use super::handle::{ask_how_opened, seals_of, status_of};
use super::{Argument, Outcome, always, call};

/// A mapped view of a section. It stays mapped until it is dropped, even if all descriptors of the section are
/// closed.
#[derive(Debug)]
pub(crate) struct View {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread, so any thread may use and unmap it. `View` itself
// accesses no byte; its users access them atomically.
unsafe impl Send for View {}
// SAFETY: through a shared reference, `View` only returns its address and length, which never change. Its users
// access the bytes atomically.
unsafe impl Sync for View {}

impl View {
    /// Maps `length` bytes from the offset `from` on, which must be a multiple of the [granularity].
    pub(crate) fn map(section: BorrowedFd<'_>, writing: bool, from: u64, length: usize) -> SysResult<Self> {
        // `size_of_section` refuses memory that isn't sealed: another process could shrink it, and an access would
        // then kill this process with SIGBUS.
        if size_of_section(section)? as u64 <= from.saturating_add(length as u64).saturating_sub(1) {
            return Err(SysError::unexpected("mmap", "the range ends beyond the shared memory"));
        }
        // A Rust slice can't be longer than `isize::MAX` bytes.
        if isize::try_from(length).is_err() {
            return Err(SysError::new("mmap", Errno::NOMEM));
        }
        let protection = if writing { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let arguments = [
            ("section", section.into()),
            ("protection", Argument::Flags(protection.bits())),
            ("from", from.into()),
            ("length", length.into()),
        ];
        call("mmap", &arguments, || {
            // SAFETY: with a null address, the kernel chooses a free range, so no existing mapping is replaced. The
            // section is borrowed, so it is open. It is sealed against shrinking, and the range was checked to lie
            // within it, so the mapped bytes stay accessible.
            let base = unsafe { mmap(null_mut(), length, protection, MapFlags::SHARED, section, from) };
            let base = NonNull::new(base?.cast()).ok_or(Errno::NOMEM)?;
            Ok(Self { base, length })
        })
    }

    /// Maps the whole section.
    pub(crate) fn whole(section: BorrowedFd<'_>, writing: bool) -> SysResult<Self> {
        Self::map(section, writing, 0, size_of_section(section)?)
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Outcome for View {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} bytes at {:p}", self.length, self.base)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let address = self.base.as_ptr().expose_provenance() as u64;
        let _ = always("munmap", &[("view", Argument::Raw(address)), ("length", self.length.into())], || {
            // SAFETY: this object created the mapping of this address and length and is its only owner. References
            // into it borrow from this object, so none is left when it is dropped.
            Ok(unsafe { munmap(self.base.as_ptr().cast(), self.length) }?)
        });
    }
}

/// Returns the alignment in bytes of the offset at which a view begins.
pub(crate) fn granularity() -> u64 {
    rustix::param::page_size() as u64
}

/// Returns the size of a section in bytes. It fails if the memory isn't sealed against shrinking, or the descriptor
/// can't be read from.
pub(crate) fn size_of_section(section: BorrowedFd<'_>) -> SysResult<usize> {
    let seals = seals_of(section)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(SysError::unexpected(
            "fcntl",
            "its creator can still shrink it, so it can't be mapped safely; seal it with F_SEAL_SHRINK, or create it with SharedMemory",
        ));
    }
    if ask_how_opened(section)?.contains(OFlags::WRONLY) {
        return Err(SysError::new("fstat", Errno::ACCESS));
    }
    usize::try_from(status_of(section)?.st_size).map_err(|_| SysError::new("fstat", Errno::OVERFLOW))
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::fs::fstat;

    use super::*;
    use crate::sys::create_object::{What, create};

    #[test]
    fn view_is_unmapped_when_its_owner_is_dropped() -> io::Result<()> {
        let section = create(What::SharedMemory(1))?;
        let file = fstat(&section)?.st_ino.to_string();
        let is_mapped = || -> io::Result<bool> {
            let maps = std::fs::read_to_string("/proc/thread-self/maps")?;
            Ok(maps.lines().any(|line| line.split_whitespace().nth(4) == Some(&file)))
        };
        let view = View::whole(section.borrowed(), true)?;
        assert!(is_mapped()?);
        drop(view);
        assert!(!is_mapped()?);
        Ok(())
    }

    #[test]
    fn dropped_view_leaves_no_mapping() -> io::Result<()> {
        let section = create(What::SharedMemory(1 << 20))?;
        let inode = format!(" {} ", fstat(&section)?.st_ino);
        let views = || {
            let maps = std::fs::read_to_string("/proc/self/maps")?;
            let is_one = |line: &&str| line.contains("handover") && line.contains(&inode);
            Ok::<_, io::Error>(maps.lines().filter(is_one).count())
        };
        let view = View::whole(section.borrowed(), true)?;
        assert_eq!(views()?, 1);
        drop(view);
        assert_eq!(views()?, 0);
        Ok(())
    }
}
