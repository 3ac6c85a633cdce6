//! Memory that processes share.

use std::fmt;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use windows_sys::Win32::System::Memory::{
    FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION, MEMORY_MAPPED_VIEW_ADDRESS,
    MapViewOfFile, PAGE_GUARD, PAGE_READONLY, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

use super::create_object::{self, What};
use super::io::Owned;
use super::{Argument, Outcome, SysError, SysResult, always, always_ask, ask, call, handle, succeeded};
use crate::handle::HandleValue;

/// A part of a section in this process's memory. It stays as long as this, whatever becomes of handles to the
/// section.
#[derive(Debug)]
pub(crate) struct View {
    base: NonNull<u8>,
    /// How many bytes can be looked at.
    length: usize,
}

// SAFETY: the view is the process's, not a thread's; what is in it is only looked at by atomic operations.
unsafe impl Send for View {}
// SAFETY: likewise.
unsafe impl Sync for View {}

impl View {
    /// Maps so many bytes from this place on, a multiple of the [granularity].
    pub(crate) fn map(
        section: BorrowedHandle<'_>,
        writing: bool,
        from: u64,
        length: usize,
    ) -> SysResult<Self> {
        Self::map_raw(section.as_raw_handle(), writing, from, length)
    }

    /// Maps all that the section has.
    pub(crate) fn whole(section: BorrowedHandle<'_>, writing: bool) -> SysResult<Self> {
        Self::map_raw(section.as_raw_handle(), writing, 0, 0)
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The same for a value of this process's table; zero bytes for all that there are. The kernel checks
    /// that it is a section with room for so much.
    fn map_raw(section: RawHandle, writing: bool, from: u64, length: usize) -> SysResult<Self> {
        let access = if writing { FILE_MAP_READ | FILE_MAP_WRITE } else { FILE_MAP_READ };
        #[allow(clippy::cast_possible_truncation, reason = "the two halves are what is meant")]
        let (high, low) = ((from >> 32) as u32, from as u32);
        let arguments = [
            ("section", Argument::Raw(section.expose_provenance() as u64)),
            ("access", Argument::Flags(access)),
            ("from", from.into()),
            ("length", length.into()),
        ];
        let mut this = call("MapViewOfFile", &arguments, || {
            // SAFETY: the kernel checks the number of the section, and lays the view where nothing else is.
            let view = unsafe { MapViewOfFile(section, access, high, low, length) };
            let base = NonNull::new(view.Value.cast()).ok_or_else(io::Error::last_os_error)?;
            Ok(Self { base, length: 0 })
        })?;
        // A section can be reserved without memory behind it, and then the first look at it would be the end.
        this.length = this.committed()?;
        if this.length < length.max(1) {
            return Err(SysError::unexpected("VirtualQuery", "the section has no memory there"));
        }
        Ok(this)
    }

    /// How many bytes from the base on have memory behind them.
    fn committed(&self) -> SysResult<usize> {
        ask("VirtualQuery", &[self.said()], || {
            let mut answer = MEMORY_BASIC_INFORMATION::default();
            // SAFETY: the view is there, and the answer has the size that is passed with it.
            let length = unsafe {
                VirtualQuery(
                    self.base.as_ptr().cast(),
                    &raw mut answer,
                    size_of::<MEMORY_BASIC_INFORMATION>(),
                )
            };
            if length == 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(if can_be_read(&answer) { answer.RegionSize } else { 0 })
        })
    }

    fn said(&self) -> (&'static str, Argument<'static>) {
        ("view", Argument::Raw(self.base.as_ptr().expose_provenance() as u64))
    }
}

/// Whether a look at memory that is described so isn't the end of this process: whoever has made the section
/// may have said otherwise of its pages.
fn can_be_read(memory: &MEMORY_BASIC_INFORMATION) -> bool {
    /// Where the bits end of which there is one, and those begin that say something beside.
    const ONE_OF: u32 = 0xff;
    let is_readable = matches!(memory.Protect & ONE_OF, PAGE_READONLY | PAGE_READWRITE);
    memory.State == MEM_COMMIT && is_readable && memory.Protect & PAGE_GUARD == 0
}

impl Outcome for View {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:p}", self.base)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = always("UnmapViewOfFile", &[self.said()], || {
            let address = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.base.as_ptr().cast() };
            // SAFETY: the view is ours, and nobody borrows from it any more.
            succeeded(unsafe { UnmapViewOfFile(address) })
        });
    }
}

/// At which places of a section a view can begin.
pub(crate) fn granularity() -> u64 {
    let mut answer = SYSTEM_INFO::default();
    let _ = always_ask("GetSystemInfo", &[], || {
        // SAFETY: the answer is a live place for it.
        unsafe { GetSystemInfo(&raw mut answer) };
        Ok(())
    });
    answer.dwAllocationGranularity.into()
}

/// How many bytes a section has: whole pages.
pub(crate) fn size_of_section(section: BorrowedHandle<'_>) -> SysResult<usize> {
    View::whole(section, false).map(|view| view.length)
}

/// The first `N` words of a section.
#[derive(Debug)]
pub(crate) struct Words<const N: usize>(View);

impl<const N: usize> Words<N> {
    /// A new section of zeros, unnamed, and a view of it.
    pub(crate) fn create() -> SysResult<(Owned, Self)> {
        let size = size_of::<[AtomicU64; N]>();
        let (section, _) = create_object::create(What::SharedMemory(size as u64), None)?;
        let view = View::map(section.as_handle(), true, 0, size)?;
        Ok((section, Self(view)))
    }

    /// A view of the section that another process has put into this one's table under this value.
    pub(crate) fn of_section(section: HandleValue) -> SysResult<Self> {
        View::map_raw(handle::raw(section), true, 0, size_of::<[AtomicU64; N]>()).map(Self)
    }

    pub(crate) fn words(&self) -> &[AtomicU64; N] {
        // SAFETY: the view is aligned to a page, has room for the words, and lasts as long as this.
        unsafe { self.0.base.cast().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Memory::{MEM_RESERVE, PAGE_NOACCESS, PAGE_NOCACHE};

    use super::*;

    fn at(base: NonNull<u8>) -> MEMORY_BASIC_INFORMATION {
        let mut answer = MEMORY_BASIC_INFORMATION::default();
        // SAFETY: the address is only a number to the call, and the answer has the size that is passed with
        // it.
        unsafe {
            VirtualQuery(base.as_ptr().cast(), &raw mut answer, size_of::<MEMORY_BASIC_INFORMATION>());
        }
        answer
    }

    #[test]
    fn a_view_that_is_dropped_is_gone() -> io::Result<()> {
        // As large as nothing else that comes into its place meanwhile.
        const SIZE: usize = 0x53 << 12;
        let (section, _) = create_object::create(What::SharedMemory(SIZE as u64), None)?;
        let view = View::map(section.as_handle(), false, 0, SIZE)?;
        let base = view.base();
        assert_eq!((at(base).RegionSize, at(base).Protect), (SIZE, PAGE_READONLY));
        drop(view);
        assert_ne!((at(base).State, at(base).RegionSize), (MEM_COMMIT, SIZE));
        Ok(())
    }

    #[test]
    fn what_can_not_be_read_is_not_looked_at() {
        let memory = |state, protect| MEMORY_BASIC_INFORMATION {
            State: state,
            Protect: protect,
            ..MEMORY_BASIC_INFORMATION::default()
        };
        for protect in [PAGE_READONLY, PAGE_READWRITE] {
            assert!(can_be_read(&memory(MEM_COMMIT, protect)));
            assert!(can_be_read(&memory(MEM_COMMIT, protect | PAGE_NOCACHE)));
            assert!(!can_be_read(&memory(MEM_COMMIT, protect | PAGE_GUARD)));
            assert!(!can_be_read(&memory(MEM_RESERVE, protect)));
        }
        assert!(!can_be_read(&memory(MEM_COMMIT, PAGE_NOACCESS)));
    }

    #[test]
    fn a_view_begins_where_it_is_asked_to_or_not_at_all() -> io::Result<()> {
        let (section, _) = create_object::create(What::SharedMemory(3 << 16), None)?;
        let view = View::map(section.as_handle(), true, 1 << 16, 1 << 16)?;
        assert_eq!(view.length(), 1 << 16);
        for beyond in [3 << 16, 1 << 32, (1 << 32) + (1 << 16)] {
            assert!(View::map(section.as_handle(), true, beyond, 1).is_err(), "{beyond:#x}");
        }
        Ok(())
    }
}
