//! The bytes of mapped shared memory, on every system.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use super::SysError;
use super::SysResult;
use super::call;
use super::io::BorrowedHandle;
use super::memory::{View, granularity};

fn too_large(_: std::num::TryFromIntError) -> SysError {
    SysError::unexpected(call::MAP, "more bytes than this process can address")
}

/// A mapped range of shared memory. Other processes can change the bytes at any time, so they are accessed as atomics
/// only, and every bit pattern is a valid value.
#[derive(Debug)]
pub(crate) struct Bytes {
    view: View,
    /// The number of bytes between the start of the mapping, which has to be aligned, and the requested range.
    skipped: usize,
    length: usize,
}

impl Bytes {
    /// Maps `length` bytes, at least one, from the offset `from` on. The section must contain the whole range.
    pub(crate) fn view(
        section: BorrowedHandle<'_>,
        writing: bool,
        from: u64,
        length: usize,
    ) -> SysResult<Self> {
        let skipped = from % granularity();
        let mapped = usize::try_from(length as u64 + skipped).map_err(too_large)?;
        let view = View::map(section, writing, from - skipped, mapped)?;
        Ok(Self { view, skipped: usize::try_from(skipped).map_err(too_large)?, length })
    }

    /// Maps the whole section.
    pub(crate) fn whole(section: BorrowedHandle<'_>, writing: bool) -> SysResult<Self> {
        let view = View::whole(section, writing)?;
        let length = view.length();
        Ok(Self { view, skipped: 0, length })
    }

    /// Returns the bytes. The caller may write to them only if the view was mapped with `writing`.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        let first = self.view.base().as_ptr().wrapping_add(self.skipped).cast();
        // SAFETY: `View::map` mapped `skipped + length` readable bytes from `base` on, and the mapping lasts as long
        // as `self`, which the returned slice borrows. `AtomicU8` has the size and alignment of a byte, any value is
        // valid, and concurrent changes are allowed because all accesses are atomic.
        unsafe { std::slice::from_raw_parts(first, self.length) }
    }

    /// Returns the 32-bit number at the offset `at`, or `None` if it isn't aligned or reaches beyond the range.
    pub(crate) fn u32(&self, at: usize) -> Option<&AtomicU32> {
        let number = self.aligned_at::<AtomicU32>(at)?;
        // SAFETY: `aligned_at` has checked that the number is aligned and lies within the mapped range. The mapping
        // lasts as long as `self`, which the reference borrows, any bits are a valid number, and all accesses are
        // atomic.
        Some(unsafe { number.as_ref() })
    }

    /// Returns the 64-bit number at the offset `at`, or `None` if it isn't aligned or reaches beyond the range.
    pub(crate) fn u64(&self, at: usize) -> Option<&AtomicU64> {
        let number = self.aligned_at::<AtomicU64>(at)?;
        // SAFETY: `aligned_at` has checked that the number is aligned and lies within the mapped range. The mapping
        // lasts as long as `self`, which the reference borrows, any bits are a valid number, and all accesses are
        // atomic.
        Some(unsafe { number.as_ref() })
    }

    /// Returns a pointer to a `T` at the offset `at`, if it is aligned and lies within the range.
    fn aligned_at<T>(&self, at: usize) -> Option<NonNull<T>> {
        let inside = at.checked_add(size_of::<T>()).is_some_and(|end| end <= self.length);
        let pointer = self.view.base().as_ptr().wrapping_add(self.skipped).wrapping_add(at).cast::<T>();
        if inside && pointer.is_aligned() { NonNull::new(pointer) } else { None }
    }
}
