//! Memory that two processes share.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{NonNull, null};
use std::sync::atomic::AtomicU64;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEM_COMMIT, MEMORY_BASIC_INFORMATION,
    MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, PAGE_READWRITE, UnmapViewOfFile, VirtualQuery,
};

use super::{fault, handle, size_of_u32};
use crate::HandleValue;

/// A view of `N` words of a section. Whoever has the section can change them at any time, so they are atomic, and
/// any value of theirs is a possible one.
#[derive(Debug)]
pub(crate) struct Words<const N: usize>(NonNull<[AtomicU64; N]>);

// SAFETY: the view is the process's, not a thread's, and its words are atomic.
unsafe impl<const N: usize> Send for Words<N> {}
// SAFETY: likewise.
unsafe impl<const N: usize> Sync for Words<N> {}

impl<const N: usize> Words<N> {
    /// A new section of zeros, unnamed, and a view of it.
    pub(crate) fn create() -> io::Result<(OwnedHandle, Self)> {
        fault("CreateFileMappingW")?;
        // SAFETY: INVALID_HANDLE_VALUE stands for the page file, and no attributes and no name are documented as NULL.
        let raw = unsafe {
            CreateFileMappingW(
                INVALID_HANDLE_VALUE,
                null(),
                PAGE_READWRITE,
                0,
                size_of_u32::<[AtomicU64; N]>(),
                null(),
            )
        };
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was made for us just now.
        let section = unsafe { OwnedHandle::from_raw_handle(raw) };
        let view = Self::view(section.as_raw_handle())?;
        Ok((section, view))
    }

    /// A view of the section that another process has put into this one's table under this value.
    pub(crate) fn view_of(section: HandleValue) -> io::Result<Self> {
        Self::view(handle::raw(section))
    }

    fn view(section: RawHandle) -> io::Result<Self> {
        fault("MapViewOfFile")?;
        // SAFETY: the kernel checks that the number is that of a section with room for so much, and lays the view
        // where nothing else is.
        let view = unsafe {
            MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, size_of::<[AtomicU64; N]>())
        };
        let words = NonNull::new(view.Value.cast()).map(Self).ok_or_else(io::Error::last_os_error)?;
        // A section can be reserved without memory behind it, and then the first look at it would be the end.
        fault("VirtualQuery")?;
        let mut answer = MEMORY_BASIC_INFORMATION::default();
        // SAFETY: the view is there, and the answer has the size that is passed with it.
        let length =
            unsafe { VirtualQuery(view.Value, &raw mut answer, size_of::<MEMORY_BASIC_INFORMATION>()) };
        if length == 0 {
            return Err(io::Error::last_os_error());
        }
        if answer.State != MEM_COMMIT || answer.RegionSize < size_of::<[AtomicU64; N]>() {
            return Err(io::Error::other("the section has no memory"));
        }
        Ok(words)
    }

    pub(crate) fn words(&self) -> &[AtomicU64; N] {
        // SAFETY: the view is aligned to a page, has room for the words, and lasts as long as this.
        unsafe { self.0.as_ref() }
    }
}

impl<const N: usize> Drop for Words<N> {
    fn drop(&mut self) {
        // SAFETY: the view is ours, and nobody borrows from it any more.
        unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: self.0.as_ptr().cast() }) };
    }
}
