//! Bytes of a section in view, on every system.

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

    /// All that the section has.
    pub(crate) fn whole(section: BorrowedHandle<'_>, writing: bool) -> SysResult<Self> {
        let view = View::whole(section, writing)?;
        let length = view.length();
        Ok(Self { view, skipped: 0, length })
    }

    /// To look at; to change only if the view was made for writing.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        let first = self.view.base().as_ptr().wrapping_add(self.skipped).cast();
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
        let place = self.view.base().as_ptr().wrapping_add(self.skipped).wrapping_add(at).cast::<T>();
        if inside && place.is_aligned() { NonNull::new(place) } else { None }
    }
}
