//! Creating kernel objects, with or without a name, and opening them by name.

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
use super::{Argument, Effects, Outcome, SysResult, always, call, code, succeeded};
use crate::handle::{Access, ObjectKind};

/// The object to create or open.
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
    /// The size in bytes.
    SharedMemory(u64),
    Timer {
        manual_reset: bool,
    },
}

impl What {
    /// Returns the name of the call that creates the object.
    pub(crate) const fn creating(self) -> &'static str {
        match self {
            Self::Event { .. } => "CreateEventW",
            Self::Mutex => "CreateMutexW",
            Self::Semaphore { .. } => "CreateSemaphoreW",
            Self::SharedMemory(_) => "CreateFileMappingW",
            Self::Timer { .. } => "CreateWaitableTimerW",
        }
    }

    pub(crate) const fn kind(self) -> ObjectKind {
        match self {
            Self::Event { .. } => ObjectKind::Event,
            Self::Mutex => ObjectKind::Mutex,
            Self::Semaphore { .. } => ObjectKind::Semaphore,
            Self::SharedMemory(_) => ObjectKind::SharedMemory,
            Self::Timer { .. } => ObjectKind::Timer,
        }
    }

    /// Returns the argument by which events show the object's properties.
    fn argument(self) -> (&'static str, Argument<'static>) {
        match self {
            Self::Event { manual_reset } | Self::Timer { manual_reset } => {
                (if manual_reset { "manual reset" } else { "auto reset" }, Argument::Yes)
            }
            Self::Mutex => ("", Argument::Yes),
            Self::Semaphore { initial, .. } => ("initial", initial.into()),
            Self::SharedMemory(size) => ("size", size.into()),
        }
    }

    /// Returns the name of the call that opens the object.
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

/// Creates an object that isn't signaled, or opens an existing one with the same name. Without a name, only this
/// process can use it. The name is UTF-16 with a terminating NUL, and comes with the protection of the new object.
/// The second result says whether the object already existed.
pub(crate) fn create(what: What, name: Option<(&[u16], &Protection)>) -> SysResult<(Owned, bool)> {
    let (label, argument) = what.argument();
    let arguments = [(label, argument), ("name", Argument::Wide(name.map_or(&[], |(name, _)| name)))];
    let from = usize::from(label.is_empty());
    let to = if name.is_some() { 2 } else { 1 }.max(from);
    let made = call(what.creating(), &arguments[from..to], || create_raw(what, name));
    made.map(|Made { object, was_existing }| (object, was_existing))
}

/// The result of creating an object.
struct Made {
    object: Owned,
    was_existing: bool,
}

impl Outcome for Made {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.result(to)?;
        if self.was_existing { to.write_str(", which already existed") } else { Ok(()) }
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        self.object.effects(to)
    }
}

fn create_raw(what: What, name: Option<(&[u16], &Protection)>) -> io::Result<Made> {
    let attributes = name.map(|(_, protection)| protection.attributes());
    let attributes: *const SECURITY_ATTRIBUTES = attributes.as_ref().map_or(null(), std::ptr::from_ref);
    let name = name.map_or(null(), |(name, _)| name.as_ptr());
    // A successful call may leave the last error unchanged, so it is cleared first.
    // SAFETY: the call only stores a number for this thread.
    unsafe { SetLastError(ERROR_SUCCESS) };
    let raw = match what {
        What::Event { manual_reset } => {
            // SAFETY: the name is null or ends with NUL, and the attributes are null or point to a live structure.
            // Both, and the security descriptor behind the attributes, live during the call.
            unsafe { CreateEventW(attributes, manual_reset.into(), 0, name) }
        }
        What::Mutex => {
            // SAFETY: the name is null or ends with NUL, and the attributes are null or point to a live structure.
            // Both, and the security descriptor behind the attributes, live during the call.
            unsafe { CreateMutexW(attributes, 0, name) }
        }
        What::Semaphore { initial, maximum } => {
            // SAFETY: the name is null or ends with NUL, and the attributes are null or point to a live structure.
            // Both, and the security descriptor behind the attributes, live during the call.
            unsafe { CreateSemaphoreW(attributes, initial, maximum, name) }
        }
        What::SharedMemory(size) => {
            #[allow(clippy::cast_possible_truncation, reason = "the call takes the two halves of the number")]
            let (high, low) = ((size >> 32) as u32, size as u32);
            // SAFETY: `INVALID_HANDLE_VALUE` stands for the page file. The name is null or ends with NUL, and the
            // attributes are null or point to a live structure. Both, and the security descriptor behind the
            // attributes, live during the call.
            unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, attributes, PAGE_READWRITE, high, low, name) }
        }
        What::Timer { manual_reset } => {
            // SAFETY: the name is null or ends with NUL, and the attributes are null or point to a live structure.
            // Both, and the security descriptor behind the attributes, live during the call.
            unsafe { CreateWaitableTimerW(attributes, manual_reset.into(), name) }
        }
    };
    // After a success, the last error says whether the object already existed. It is read before any other call can
    // change it.
    // SAFETY: the call takes no arguments and only reads a number of this thread.
    let last_error = unsafe { GetLastError() };
    Ok(Made { object: owned(raw)?, was_existing: last_error == ERROR_ALREADY_EXISTS })
}

/// Creates an unnamed event that isn't signaled.
pub(crate) fn event(manual_reset: bool) -> SysResult<Owned> {
    create(What::Event { manual_reset }, None).map(|(event, _)| event)
}

/// Opens the object of this kind with this name.
pub(crate) fn open(what: What, name: &[u16], access: Access) -> SysResult<Owned> {
    let arguments = [("name", name.into()), ("access", Argument::Flags(access.bits()))];
    call(what.opening(), &arguments, || open_raw(what, name, access))
}

fn open_raw(what: What, name: &[u16], access: Access) -> io::Result<Owned> {
    let (access, name) = (access.bits(), name.as_ptr());
    let raw = match what {
        What::Event { .. } => {
            // SAFETY: every caller passes a name that ends with NUL, and it lives during the call.
            unsafe { OpenEventW(access, 0, name) }
        }
        What::Mutex => {
            // SAFETY: every caller passes a name that ends with NUL, and it lives during the call.
            unsafe { OpenMutexW(access, 0, name) }
        }
        What::Semaphore { .. } => {
            // SAFETY: every caller passes a name that ends with NUL, and it lives during the call.
            unsafe { OpenSemaphoreW(access, 0, name) }
        }
        What::SharedMemory(_) => {
            // SAFETY: every caller passes a name that ends with NUL, and it lives during the call.
            unsafe { OpenFileMappingW(access, 0, name) }
        }
        What::Timer { .. } => {
            // SAFETY: every caller passes a name that ends with NUL, and it lives during the call.
            unsafe { OpenWaitableTimerW(access, 0, name) }
        }
    };
    owned(raw)
}

fn owned(raw: RawHandle) -> io::Result<Owned> {
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the callers pass the result of a call that has just opened this handle for this process. It isn't null,
    // so the call succeeded, and no other owner exists.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) }.into())
}

/// Returns whether creating or opening by name failed for lack of access.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    code(error) == Some(ERROR_ACCESS_DENIED)
}

/// Returns whether it failed because an object of another kind has the name.
pub(crate) fn is_of_another_kind(error: &io::Error) -> bool {
    code(error) == Some(ERROR_INVALID_HANDLE)
}

/// Returns whether a release failed because the semaphore's count would be too large.
pub(crate) fn is_too_many(error: &io::Error) -> bool {
    code(error) == Some(ERROR_TOO_MANY_POSTS)
}

/// Returns whether opening failed because no object has the name.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    code(error) == Some(ERROR_FILE_NOT_FOUND)
}

pub(crate) fn set_event(event: BorrowedHandle<'_>) -> SysResult<()> {
    call("SetEvent", &[("event", event.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
        succeeded(unsafe { SetEvent(event.as_raw_handle()) })
    })
}

/// Sets an event in a callback of the thread pool. No subscriber's code may run there, so the call is not traced.
pub(crate) fn set_event_in_callback(event: BorrowedHandle<'_>) {
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
    unsafe { SetEvent(event.as_raw_handle()) };
}

pub(crate) fn reset_event(event: BorrowedHandle<'_>) -> SysResult<()> {
    call("ResetEvent", &[("event", event.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
        succeeded(unsafe { ResetEvent(event.as_raw_handle()) })
    })
}

/// Sets or resets an event of this process's own, to tell other threads what is so. No test can make it fail: these
/// threads would wait forever.
pub(crate) fn show(event: BorrowedHandle<'_>, is_so: bool) {
    // The handle is open and has all rights, so the calls don't fail.
    let _ = if is_so {
        always("SetEvent", &[("event", event.into())], || {
            // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
            succeeded(unsafe { SetEvent(event.as_raw_handle()) })
        })
    } else {
        always("ResetEvent", &[("event", event.into())], || {
            // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is an event.
            succeeded(unsafe { ResetEvent(event.as_raw_handle()) })
        })
    };
}

pub(crate) fn release_mutex(mutex: BorrowedHandle<'_>) -> SysResult<()> {
    call("ReleaseMutex", &[("mutex", mutex.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a mutex and that this thread
        // owns it.
        succeeded(unsafe { ReleaseMutex(mutex.as_raw_handle()) })
    })
}

/// The semaphore's count before a release.
pub(crate) type Before = i32;

/// Adds `count` to a semaphore, and returns its count before.
pub(crate) fn release_semaphore(semaphore: BorrowedHandle<'_>, count: i32) -> SysResult<Before> {
    call("ReleaseSemaphore", &[("semaphore", semaphore.into()), ("count", count.into())], || {
        let mut before = 0;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a semaphore. `before` is a live
        // variable for the answer.
        succeeded(unsafe { ReleaseSemaphore(semaphore.as_raw_handle(), count, &raw mut before) })?;
        Ok(before)
    })
}

/// Starts a timer. It is signaled after `after` units of 100 ns, and then every `period` milliseconds if `period`
/// isn't zero.
pub(crate) fn set_timer(timer: BorrowedHandle<'_>, after: i64, period: i32) -> SysResult<()> {
    // A negative time is relative to now.
    let due = -after;
    call(
        "SetWaitableTimer",
        &[("timer", timer.into()), ("due", due.into()), ("period", period.into())],
        || {
            // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a timer. `due` lives during
            // the call, and no completion routine is passed.
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
    fn section_can_be_larger_than_4_gib() -> io::Result<()> {
        match create(What::SharedMemory((1 << 32) + 4096), None) {
            Ok((section, _)) => {
                assert_eq!(View::map(section.as_handle(), false, 1 << 32, 4096)?.length(), 4096);
            }
            // The machine doesn't have that much memory.
            Err(error) => assert_eq!(code(&error), Some(ERROR_COMMITMENT_LIMIT), "{error}"),
        }
        Ok(())
    }
}
