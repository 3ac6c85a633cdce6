//! `PoolWait`: a wait by the system's thread pool, in which one thread waits for up to 63 handles.

use std::ffi::c_void;
use std::fmt;
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::ptr::{NonNull, null_mut};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE,
};

use super::{Outcome, SysResult, always, call, succeeded};

/// An action that a thread of the pool takes when a handle is signaled. It must not wait, drop a [`PoolWait`], or make
/// calls that are traced: no subscriber's code may run there.
pub(crate) trait OnSignal: Send + Sync {
    fn signaled(&self);
}

/// One wait for a handle. Dropping it ends the wait. The wait changes the object as every wait does.
pub(crate) struct PoolWait<H, S> {
    registered: Registered,
    /// On the heap until the callback can't run any more.
    on_signal: NonNull<S>,
    /// Keeps the handle open.
    _handle: H,
}

/// The system's identifier of a wait. It is no handle of the kernel.
struct Registered(HANDLE);

impl Outcome for Registered {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("ok")
    }
}

// SAFETY: any thread may end a registered wait. `on_signal` points to a value that is `Send` and `Sync`, which only `drop`
// frees.
unsafe impl<H: Send, S: OnSignal> Send for PoolWait<H, S> {}

// SAFETY: a shared reference only gives shared access to what is behind `on_signal`, which is `Sync`.
unsafe impl<H: Sync, S: OnSignal> Sync for PoolWait<H, S> {}

impl<H: AsHandle + 'static, S: OnSignal + 'static> PoolWait<H, S> {
    /// Begins to wait. `handle` must keep its handle open until it is dropped.
    pub(crate) fn begin(handle: H, on_signal: S) -> SysResult<Self> {
        let on_signal = NonNull::from(Box::leak(Box::new(on_signal)));
        let registered =
            call("RegisterWaitForSingleObject", &[("object", handle.as_handle().into())], || {
                let mut registered = null_mut();
                // SAFETY: `registered` is a live variable for the answer. The handle is open, and `_handle` keeps it open until
                // the wait has ended. The value behind `on_signal`, the callback's argument, lives until then too.
                succeeded(unsafe {
                    RegisterWaitForSingleObject(
                        &raw mut registered,
                        handle.as_handle().as_raw_handle(),
                        Some(signaled::<S>),
                        on_signal.as_ptr().cast(),
                        INFINITE,
                        // The callbacks are short, so none needs another thread of the pool.
                        WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD,
                    )
                })?;
                Ok(Registered(registered))
            });
        match registered {
            Ok(registered) => Ok(Self { registered, on_signal, _handle: handle }),
            Err(error) => {
                // SAFETY: `on_signal` was leaked from a `Box` above. The wait wasn't registered, so no callback uses it.
                drop(unsafe { Box::from_raw(on_signal.as_ptr()) });
                Err(error)
            }
        }
    }
}

impl<H, S> PoolWait<H, S> {
    /// Returns the action for the handle's signal.
    pub(crate) fn on_signal(&self) -> &S {
        // SAFETY: it was leaked from a `Box`, and only `drop` frees it. Only shared references to it exist.
        unsafe { self.on_signal.as_ref() }
    }
}

unsafe extern "system" fn signaled<S: OnSignal>(on_signal: *mut c_void, _has_timed_out: bool) {
    // SAFETY: the argument is the `on_signal` of a `PoolWait`, which lives until no callback runs any more.
    unsafe { &*on_signal.cast::<S>() }.signaled();
}

impl<H, S> Drop for PoolWait<H, S> {
    fn drop(&mut self) {
        let ended = always("UnregisterWaitEx", &[], || {
            // SAFETY: the wait was registered by `begin`, and is ended only here. `INVALID_HANDLE_VALUE` makes the call wait
            // until no callback runs. This is no thread of a callback, because callbacks drop no such value.
            succeeded(unsafe { UnregisterWaitEx(self.registered.0, INVALID_HANDLE_VALUE) })
        });
        // After a failure a callback could still run, so what it uses is leaked.
        if ended.is_ok() {
            // SAFETY: it was leaked from a `Box` by `begin`, and is freed only here. No callback uses it any more.
            drop(unsafe { Box::from_raw(self.on_signal.as_ptr()) });
        }
    }
}

impl<H, S> fmt::Debug for PoolWait<H, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolWait").finish_non_exhaustive()
    }
}
