//! Memory that processes share.

use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::fs::{OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::SysError;
use super::SysResult;
use super::handle::{ask_how_opened, seals_of, status_of};
use super::{Argument, Outcome, always, call};

/// A part of a section in this process's memory. It stays as long as this, whatever becomes of descriptors of the
/// section.
#[derive(Debug)]
pub(crate) struct View {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: the view is the process's, not a thread's; what is in it is only looked at by atomic operations.
unsafe impl Send for View {}
// SAFETY: likewise.
unsafe impl Sync for View {}

impl View {
    /// Maps so many bytes from this place on, a multiple of the [granularity].
    pub(crate) fn map(section: BorrowedFd<'_>, writing: bool, from: u64, length: usize) -> SysResult<Self> {
        // What isn't sealed can be made shorter by whoever has it, and then a look at it would be the end.
        if size_of_section(section)? as u64 <= from.saturating_add(length as u64).saturating_sub(1) {
            return Err(SysError::unexpected("mmap", "the shared memory ends before that"));
        }
        // No slice can be longer.
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
            // SAFETY: the kernel lays the view where nothing else is. Nobody can take the memory away: it is sealed, and
            // no further than its end is mapped.
            let base = unsafe { mmap(null_mut(), length, protection, MapFlags::SHARED, section, from) };
            let base = NonNull::new(base?.cast()).ok_or(Errno::NOMEM)?;
            Ok(Self { base, length })
        })
    }

    /// Maps all that the section has.
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
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} bytes at {:p}", self.length, self.base)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let address = self.base.as_ptr().expose_provenance() as u64;
        let _ = always("munmap", &[("view", Argument::Raw(address)), ("length", self.length.into())], || {
            // SAFETY: the view is ours, and nobody borrows from it any more.
            Ok(unsafe { munmap(self.base.as_ptr().cast(), self.length) }?)
        });
    }
}

/// At which places of a section a view can begin.
pub(crate) fn granularity() -> u64 {
    rustix::param::page_size() as u64
}

/// How many bytes a section has.
pub(crate) fn size_of_section(section: BorrowedFd<'_>) -> SysResult<usize> {
    let seals = seals_of(section)?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err(SysError::unexpected("fcntl", "the memory is not sealed against shrinking"));
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
    fn a_view_goes_with_its_owner() -> io::Result<()> {
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
    fn what_is_out_of_view_is_out_of_memory() -> io::Result<()> {
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
