//! Shared memory and its mapped views.

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

/// A mapped view of a section. It stays mapped until it is dropped, even if all handles to the section are closed.
#[derive(Debug)]
pub(crate) struct View {
    base: NonNull<u8>,
    /// The number of bytes that can be accessed.
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
    pub(crate) fn map(
        section: BorrowedHandle<'_>,
        writing: bool,
        from: u64,
        length: usize,
    ) -> SysResult<Self> {
        Self::map_raw(section.as_raw_handle(), writing, from, length)
    }

    /// Maps the whole section.
    pub(crate) fn whole(section: BorrowedHandle<'_>, writing: bool) -> SysResult<Self> {
        Self::map_raw(section.as_raw_handle(), writing, 0, 0)
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Does the same for a handle value of this process; a length of zero maps the whole section. The kernel checks
    /// that the handle refers to a section that contains the range.
    fn map_raw(section: RawHandle, writing: bool, from: u64, length: usize) -> SysResult<Self> {
        let access = if writing { FILE_MAP_READ | FILE_MAP_WRITE } else { FILE_MAP_READ };
        #[allow(clippy::cast_possible_truncation, reason = "the call takes the two halves of the number")]
        let (high, low) = ((from >> 32) as u32, from as u32);
        let arguments = [
            ("section", Argument::Raw(section.expose_provenance() as u64)),
            ("access", Argument::Flags(access)),
            ("from", from.into()),
            ("length", length.into()),
        ];
        let mut this = call("MapViewOfFile", &arguments, || {
            // SAFETY: the kernel checks the handle, which may be any number, and chooses a free address range, so no
            // existing mapping is replaced.
            let view = unsafe { MapViewOfFile(section, access, high, low, length) };
            let base = NonNull::new(view.Value.cast()).ok_or_else(io::Error::last_os_error)?;
            Ok(Self { base, length: 0 })
        })?;
        // The pages of a section can be reserved without memory behind them, and an access would then crash this
        // process. So the view ends where the memory does.
        this.length = this.committed()?;
        if this.length < length.max(1) {
            return Err(SysError::unexpected("VirtualQuery", "the shared memory ends before that offset"));
        }
        Ok(this)
    }

    /// Returns the number of bytes from the base on that have memory behind them.
    fn committed(&self) -> SysResult<usize> {
        ask("VirtualQuery", &[self.argument()], || {
            let mut answer = MEMORY_BASIC_INFORMATION::default();
            // SAFETY: the call only looks up the address. `answer` is live and writable, and its size is passed with
            // it.
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
            Ok(if is_readable(&answer) { answer.RegionSize } else { 0 })
        })
    }

    /// Returns the argument by which events show the view.
    fn argument(&self) -> (&'static str, Argument<'static>) {
        ("view", Argument::Raw(self.base.as_ptr().expose_provenance() as u64))
    }
}

/// Returns whether an access to memory with this description succeeds. The process that created the section may have
/// given its pages another protection.
fn is_readable(memory: &MEMORY_BASIC_INFORMATION) -> bool {
    /// The bits that hold the basic protection, exactly one of which is set. The higher bits are modifiers.
    const BASIC: u32 = 0xff;
    let is_basic_readable = matches!(memory.Protect & BASIC, PAGE_READONLY | PAGE_READWRITE);
    memory.State == MEM_COMMIT && is_basic_readable && memory.Protect & PAGE_GUARD == 0
}

impl Outcome for View {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:p}", self.base)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = always("UnmapViewOfFile", &[self.argument()], || {
            let address = MEMORY_MAPPED_VIEW_ADDRESS { Value: self.base.as_ptr().cast() };
            // SAFETY: this object created the mapping and is its only owner. References into it borrow from this
            // object, so none is left when it is dropped.
            succeeded(unsafe { UnmapViewOfFile(address) })
        });
    }
}

/// Returns the alignment in bytes of the offset at which a view begins.
pub(crate) fn granularity() -> u64 {
    let mut answer = SYSTEM_INFO::default();
    let _ = always_ask("GetSystemInfo", &[], || {
        // SAFETY: `answer` is a live, writable structure for the answer.
        unsafe { GetSystemInfo(&raw mut answer) };
        Ok(())
    });
    answer.dwAllocationGranularity.into()
}

/// Returns the size of a section in bytes, rounded up to whole pages.
pub(crate) fn size_of_section(section: BorrowedHandle<'_>) -> SysResult<usize> {
    View::whole(section, false).map(|view| view.length)
}

/// A view of the first `N` 64-bit words of a section.
#[derive(Debug)]
pub(crate) struct Words<const N: usize>(View);

impl<const N: usize> Words<N> {
    /// Creates an unnamed, zeroed section and maps it.
    pub(crate) fn create() -> SysResult<(Owned, Self)> {
        let size = size_of::<[AtomicU64; N]>();
        let (section, _) = create_object::create(What::SharedMemory(size as u64), None)?;
        let view = View::map(section.as_handle(), true, 0, size)?;
        Ok((section, Self(view)))
    }

    /// Maps the section whose handle another process has put into this process's table.
    pub(crate) fn of_section(section: HandleValue) -> SysResult<Self> {
        View::map_raw(handle::raw(section), true, 0, size_of::<[AtomicU64; N]>()).map(Self)
    }

    pub(crate) fn words(&self) -> &[AtomicU64; N] {
        // SAFETY: `create` and `of_section` mapped at least `N` words, readable and writable. The base of a view is
        // aligned to a page, so also to a word. Any bits are a valid word, all accesses are atomic, and the mapping
        // lasts as long as `self`, which the reference borrows.
        unsafe { self.0.base.cast().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Memory::{MEM_RESERVE, PAGE_NOACCESS, PAGE_NOCACHE};

    use super::*;

    fn at(base: NonNull<u8>) -> MEMORY_BASIC_INFORMATION {
        let mut answer = MEMORY_BASIC_INFORMATION::default();
        // SAFETY: the call only looks up the address, which may be any number. `answer` is live and writable, and its
        // size is passed with it.
        unsafe {
            VirtualQuery(base.as_ptr().cast(), &raw mut answer, size_of::<MEMORY_BASIC_INFORMATION>());
        }
        answer
    }

    #[test]
    fn dropped_view_is_unmapped() -> io::Result<()> {
        // An unusual size, so that a mapping of another thread at the same address isn't mistaken for this view.
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
    fn unreadable_pages_are_not_accessed() {
        let memory = |state, protect| MEMORY_BASIC_INFORMATION {
            State: state,
            Protect: protect,
            ..MEMORY_BASIC_INFORMATION::default()
        };
        for protect in [PAGE_READONLY, PAGE_READWRITE] {
            assert!(is_readable(&memory(MEM_COMMIT, protect)));
            assert!(is_readable(&memory(MEM_COMMIT, protect | PAGE_NOCACHE)));
            assert!(!is_readable(&memory(MEM_COMMIT, protect | PAGE_GUARD)));
            assert!(!is_readable(&memory(MEM_RESERVE, protect)));
        }
        assert!(!is_readable(&memory(MEM_COMMIT, PAGE_NOACCESS)));
    }

    #[test]
    fn view_begins_at_the_given_offset_or_fails() -> io::Result<()> {
        let (section, _) = create_object::create(What::SharedMemory(3 << 16), None)?;
        let view = View::map(section.as_handle(), true, 1 << 16, 1 << 16)?;
        assert_eq!(view.length(), 1 << 16);
        for beyond in [3 << 16, 1 << 32, (1 << 32) + (1 << 16)] {
            assert!(View::map(section.as_handle(), true, beyond, 1).is_err(), "{beyond:#x}");
        }
        Ok(())
    }
}
