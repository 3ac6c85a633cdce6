//! Events.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;

use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent};

use super::{fault, succeeded};

/// An unnamed event, not signaled, for this process alone.
pub(crate) fn create(manual_reset: bool) -> io::Result<OwnedHandle> {
    fault("CreateEventW")?;
    // SAFETY: no security attributes and no name are documented as NULL, and nothing else is passed by pointer.
    let raw = unsafe { CreateEventW(null(), manual_reset.into(), 0, null()) };
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made for us just now.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

pub(crate) fn set(event: BorrowedHandle<'_>) -> io::Result<()> {
    fault("SetEvent")?;
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
    let answer = unsafe { SetEvent(event.as_raw_handle()) };
    succeeded(answer)
}

pub(crate) fn reset(event: BorrowedHandle<'_>) -> io::Result<()> {
    fault("ResetEvent")?;
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
    let answer = unsafe { ResetEvent(event.as_raw_handle()) };
    succeeded(answer)
}
