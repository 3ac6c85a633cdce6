//! Kernel objects that are created, with a name or without one, and opened by their names.

use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::null;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND, ERROR_INVALID_HANDLE, ERROR_SUCCESS,
    ERROR_TOO_MANY_POSTS, GetLastError, INVALID_HANDLE_VALUE, SetLastError,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::System::Memory::{CreateFileMappingW, OpenFileMappingW, PAGE_READWRITE};
use windows_sys::Win32::System::Threading::{
    CancelWaitableTimer, CreateEventW, CreateMutexW, CreateSemaphoreW, CreateWaitableTimerW, OpenEventW,
    OpenMutexW, OpenSemaphoreW, OpenWaitableTimerW, ReleaseMutex, ReleaseSemaphore, ResetEvent, SetEvent,
    SetWaitableTimer,
};

use super::io::Owned;
use super::token::Protection;
use super::{Argument, Effects, Outcome, SysResult, call, code, succeeded};
use crate::handle::Access;

/// What is created, with what only its kind has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Event {
        manual_reset: bool,
    },
    Mutex,
    Semaphore {
        initial: i32,
        maximum: i32,
    },
    /// Of so many bytes.
    SharedMemory(u64),
    Timer {
        manual_reset: bool,
    },
}

impl What {
    pub(crate) const fn creating(self) -> &'static str {
        match self {
            Self::Event { .. } => "CreateEventW",
            Self::Mutex => "CreateMutexW",
            Self::Semaphore { .. } => "CreateSemaphoreW",
            Self::SharedMemory(_) => "CreateFileMappingW",
            Self::Timer { .. } => "CreateWaitableTimerW",
        }
    }

    /// What it is created with.
    fn said(self) -> (&'static str, Argument<'static>) {
        match self {
            Self::Event { manual_reset } | Self::Timer { manual_reset } => {
                (if manual_reset { "manual reset" } else { "auto reset" }, Argument::Yes)
            }
            Self::Mutex => ("", Argument::Yes),
            Self::Semaphore { initial, .. } => ("initial", initial.into()),
            Self::SharedMemory(size) => ("size", size.into()),
        }
    }

    pub(crate) const fn opening(self) -> &'static str {
        match self {
            Self::Event { .. } => "OpenEventW",
            Self::Mutex => "OpenMutexW",
            Self::Semaphore { .. } => "OpenSemaphoreW",
            Self::SharedMemory(_) => "OpenFileMappingW",
            Self::Timer { .. } => "OpenWaitableTimerW",
        }
    }
}

/// An object, not signaled, for this process alone unless it has a name: UTF-16 with the NUL that ends it,
/// and who is let in. Also says whether it was there before.
pub(crate) fn create(what: What, name: Option<(&[u16], &Protection)>) -> SysResult<(Owned, bool)> {
    let (label, argument) = what.said();
    let arguments = [(label, argument), ("name", Argument::Wide(name.map_or(&[], |(name, _)| name)))];
    let from = usize::from(label.is_empty());
    let to = if name.is_some() { 2 } else { 1 }.max(from);
    let made = call(what.creating(), &arguments[from..to], || create_raw(what, name));
    made.map(|Made { object, was_there }| (object, was_there))
}

/// What creating comes to.
struct Made {
    object: Owned,
    was_there: bool,
}

impl Outcome for Made {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.result(to)?;
        if self.was_there { to.write_str(", which was there") } else { Ok(()) }
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        self.object.effects(to)
    }
}

fn create_raw(what: What, name: Option<(&[u16], &Protection)>) -> io::Result<Made> {
    let attributes = name.map(|(_, protection)| protection.attributes());
    let attributes: *const SECURITY_ATTRIBUTES = attributes.as_ref().map_or(null(), std::ptr::from_ref);
    let name = name.map_or(null(), |(name, _)| name.as_ptr());
    // A success needn't change what was said last.
    // SAFETY: the call takes a number.
    unsafe { SetLastError(ERROR_SUCCESS) };
    // In each of these, the name ends with NUL; it, the attributes and what they point to live through the
    // call.
    let raw = match what {
        What::Event { manual_reset } => {
            // SAFETY: as above.
            unsafe { CreateEventW(attributes, manual_reset.into(), 0, name) }
        }
        What::Mutex => {
            // SAFETY: as above.
            unsafe { CreateMutexW(attributes, 0, name) }
        }
        What::Semaphore { initial, maximum } => {
            // SAFETY: as above.
            unsafe { CreateSemaphoreW(attributes, initial, maximum, name) }
        }
        What::SharedMemory(size) => {
            #[allow(clippy::cast_possible_truncation, reason = "the two halves are what is meant")]
            let (high, low) = ((size >> 32) as u32, size as u32);
            // SAFETY: as above. INVALID_HANDLE_VALUE stands for the page file.
            unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, attributes, PAGE_READWRITE, high, low, name) }
        }
        What::Timer { manual_reset } => {
            // SAFETY: as above.
            unsafe { CreateWaitableTimerW(attributes, manual_reset.into(), name) }
        }
    };
    // Also after a success it says something: that the object was there. So it is asked before anything else
    // is called.
    // SAFETY: the call takes nothing.
    let said = unsafe { GetLastError() };
    Ok(Made { object: owned(raw)?, was_there: said == ERROR_ALREADY_EXISTS })
}

/// An unnamed event, not signaled.
pub(crate) fn event(manual_reset: bool) -> SysResult<Owned> {
    create(What::Event { manual_reset }, None).map(|(event, _)| event)
}

/// An object of this kind that has this name.
pub(crate) fn open(what: What, name: &[u16], access: Access) -> SysResult<Owned> {
    let arguments = [("name", name.into()), ("access", Argument::Flags(access.bits()))];
    call(what.opening(), &arguments, || open_raw(what, name, access))
}

fn open_raw(what: What, name: &[u16], access: Access) -> io::Result<Owned> {
    let (access, name) = (access.bits(), name.as_ptr());
    let raw = match what {
        What::Event { .. } => {
            // SAFETY: the name ends with NUL and lives through the call.
            unsafe { OpenEventW(access, 0, name) }
        }
        What::Mutex => {
            // SAFETY: as above.
            unsafe { OpenMutexW(access, 0, name) }
        }
        What::Semaphore { .. } => {
            // SAFETY: as above.
            unsafe { OpenSemaphoreW(access, 0, name) }
        }
        What::SharedMemory(_) => {
            // SAFETY: as above.
            unsafe { OpenFileMappingW(access, 0, name) }
        }
        What::Timer { .. } => {
            // SAFETY: as above.
            unsafe { OpenWaitableTimerW(access, 0, name) }
        }
    };
    owned(raw)
}

fn owned(raw: RawHandle) -> io::Result<Owned> {
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made for us by the call right before.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) }.into())
}

/// Whether a name wasn't had for want of rights.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    code(error) == Some(ERROR_ACCESS_DENIED)
}

/// Whether an object of another kind has the name.
pub(crate) fn is_of_another_kind(error: &io::Error) -> bool {
    code(error) == Some(ERROR_INVALID_HANDLE)
}

/// Whether a semaphore wasn't released because its count would become too large.
pub(crate) fn is_too_many(error: &io::Error) -> bool {
    code(error) == Some(ERROR_TOO_MANY_POSTS)
}

/// Whether nothing has the name.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    code(error) == Some(ERROR_FILE_NOT_FOUND)
}

pub(crate) fn set_event(event: BorrowedHandle<'_>) -> SysResult<()> {
    call("SetEvent", &[("event", event.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
        succeeded(unsafe { SetEvent(event.as_raw_handle()) })
    })
}

pub(crate) fn reset_event(event: BorrowedHandle<'_>) -> SysResult<()> {
    call("ResetEvent", &[("event", event.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
        succeeded(unsafe { ResetEvent(event.as_raw_handle()) })
    })
}

pub(crate) fn release_mutex(mutex: BorrowedHandle<'_>) -> SysResult<()> {
    call("ReleaseMutex", &[("mutex", mutex.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a mutex and this
        // thread's.
        succeeded(unsafe { ReleaseMutex(mutex.as_raw_handle()) })
    })
}

/// What a semaphore's count was before it was added to.
pub(crate) type Before = i32;

/// Adds to a semaphore's count, and says what it was before.
pub(crate) fn release_semaphore(semaphore: BorrowedHandle<'_>, count: i32) -> SysResult<Before> {
    call("ReleaseSemaphore", &[("semaphore", semaphore.into()), ("count", count.into())], || {
        let mut before = 0;
        // SAFETY: the handle is borrowed, so it is open; `before` is a live place for the answer.
        succeeded(unsafe { ReleaseSemaphore(semaphore.as_raw_handle(), count, &raw mut before) })?;
        Ok(before)
    })
}

/// Sets a timer to go off after so many units of 100 ns, and then every so many milliseconds, if that isn't
/// zero.
pub(crate) fn set_timer(timer: BorrowedHandle<'_>, after: i64, period: i32) -> SysResult<()> {
    // Negative: from now on.
    let due = -after;
    call(
        "SetWaitableTimer",
        &[("timer", timer.into()), ("due", due.into()), ("period", period.into())],
        || {
            // SAFETY: the handle is borrowed, so it is open; the time lives through the call; no routine is
            // to be called.
            succeeded(unsafe {
                SetWaitableTimer(timer.as_raw_handle(), &raw const due, period, None, null(), 0)
            })
        },
    )
}

pub(crate) fn cancel_timer(timer: BorrowedHandle<'_>) -> SysResult<()> {
    call("CancelWaitableTimer", &[("timer", timer.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a timer.
        succeeded(unsafe { CancelWaitableTimer(timer.as_raw_handle()) })
    })
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::AsHandle;

    use windows_sys::Win32::Foundation::ERROR_COMMITMENT_LIMIT;

    use super::*;
    use crate::sys::memory::View;

    #[test]
    fn a_section_is_as_large_as_it_is_meant_to_be() -> io::Result<()> {
        match create(What::SharedMemory((1 << 32) + 4096), None) {
            Ok((section, _)) => {
                assert_eq!(View::map(section.as_handle(), false, 1 << 32, 4096)?.length(), 4096);
            }
            // The machine hasn't that much.
            Err(error) => assert_eq!(code(&error), Some(ERROR_COMMITMENT_LIMIT), "{error}"),
        }
        Ok(())
    }
}
