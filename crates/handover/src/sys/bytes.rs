//! The bytes of mapped shared memory, on every system.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::SysError;
use super::SysResult;
use super::call;
use super::copy::copy;
use super::io::BorrowedHandle;
use super::memory::{View, granularity};

fn too_large(_: std::num::TryFromIntError) -> SysError {
    SysError::unexpected(call::MAP, "more bytes than this process can address")
}

/// A mapped range of shared memory. Other processes can change the bytes at any time, so they are only copied, and
/// accessed as atomic numbers.
///
/// Rust leaves unsynchronized accesses to overlapping numbers of two widths undefined. So all numbers of one mapping
/// have the same width. Another mapping of the same memory has other addresses: to the compiler it is other memory,
/// which a process can change at any time.
#[derive(Debug)]
pub(crate) struct Bytes {
    view: View,
    /// The number of bytes between the start of the mapping, which has to be aligned, and the requested range.
    skipped: usize,
    length: usize,
    /// The width of this mapping's numbers in bytes; zero while it has none.
    width: AtomicU8,
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
        Ok(Self {
            view,
            skipped: usize::try_from(skipped).map_err(too_large)?,
            length,
            width: AtomicU8::new(0),
        })
    }

    /// Maps the whole section.
    pub(crate) fn whole(section: BorrowedHandle<'_>, writing: bool) -> SysResult<Self> {
        let view = View::whole(section, writing)?;
        let length = view.length();
        Ok(Self { view, skipped: 0, length, width: AtomicU8::new(0) })
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Copies bytes from the offset `at` on, or returns false if they aren't all within the range.
    #[inline]
    pub(crate) fn copy_out(&self, at: usize, into: &mut [u8]) -> bool {
        let Some(from) = self.at(at, into.len()) else { return false };
        // SAFETY: `at` has checked that the range lies within the mapping, which lasts as long as `self`. Rust code accesses
        // it only as atomics and by copies. `into` is borrowed exclusively, so the mapping doesn't overlap it.
        unsafe { copy(from, into.as_mut_ptr(), into.len()) };
        true
    }

    /// Copies bytes to the offset `at`, or returns false if they don't all fit into the range. The view must be mapped
    /// with `writing`.
    #[inline]
    pub(crate) fn copy_in(&self, at: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.at(at, bytes.len()) else { return false };
        // SAFETY: `at` has checked that the range lies within the mapping, which lasts as long as `self` and is writable.
        // Rust code accesses it only as atomics and by copies. `bytes` is borrowed as memory that doesn't change, so the
        // mapping doesn't overlap it.
        unsafe { copy(bytes.as_ptr(), to, bytes.len()) };
        true
    }

    /// Returns the 32-bit number at the offset `at`.
    pub(crate) fn u32(&self, at: usize) -> Result<&AtomicU32, NoNumber> {
        let number = self.number_at::<AtomicU32>(at)?;
        // SAFETY: `number_at` has checked that the number is aligned and lies within the mapped range, and that all numbers
        // of this mapping have this width. The mapping lasts as long as `self`, which the reference borrows, and any bits
        // are a valid number.
        Ok(unsafe { number.as_ref() })
    }

    /// Returns the 64-bit number at the offset `at`.
    pub(crate) fn u64(&self, at: usize) -> Result<&AtomicU64, NoNumber> {
        let number = self.number_at::<AtomicU64>(at)?;
        // SAFETY: `number_at` has checked that the number is aligned and lies within the mapped range, and that all numbers
        // of this mapping have this width. The mapping lasts as long as `self`, which the reference borrows, and any bits
        // are a valid number.
        Ok(unsafe { number.as_ref() })
    }

    /// Returns a pointer to the range of `length` bytes from the offset `at` on, if it lies within this one.
    #[inline]
    fn at(&self, at: usize, length: usize) -> Option<*mut u8> {
        let is_inside = at.checked_add(length).is_some_and(|end| end <= self.length);
        is_inside.then(|| self.view.base().as_ptr().wrapping_add(self.skipped).wrapping_add(at))
    }

    /// Returns a pointer to a number, and records the width of this mapping's numbers.
    fn number_at<T>(&self, at: usize) -> Result<NonNull<T>, NoNumber> {
        let pointer =
            self.at(at, size_of::<T>()).map(<*mut u8>::cast::<T>).filter(|pointer| pointer.is_aligned());
        let number = pointer.and_then(NonNull::new).ok_or(NoNumber::Misplaced)?;
        let width = u8::try_from(size_of::<T>()).expect("a number has few bytes");
        match self.width.compare_exchange(0, width, Relaxed, Relaxed) {
            Err(other) if other != width => Err(NoNumber::OtherWidth),
            _ => Ok(number),
        }
    }
}

/// Why a mapping has no number at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoNumber {
    /// It wouldn't be aligned, or wouldn't be completely within the range.
    Misplaced,
    /// The mapping already has numbers of another width.
    OtherWidth,
}
