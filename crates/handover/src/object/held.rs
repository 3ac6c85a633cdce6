//! What every object type of this crate has inside: a handle, and what it carries.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::OnceLock;
use std::time::Duration;

use crate::sys::handle::{granted_access, raw_of};
use crate::sys::wait::Waited;
use crate::{Access, Error, Result, Share, wait};

#[derive(Debug)]
pub(crate) struct Held {
    handle: OwnedHandle,
    /// What it carries, once it was asked for: most objects that come are never passed on.
    access: OnceLock<Access>,
}

impl Held {
    /// Of an object that this process has just created: whoever creates one gets every right to it.
    pub(crate) fn created(handle: OwnedHandle) -> Self {
        Self { handle, access: Access::all().into() }
    }

    /// Of an object that came from elsewhere.
    pub(crate) fn received(handle: OwnedHandle) -> Self {
        Self { handle, access: OnceLock::new() }
    }

    pub(crate) fn into_handle(self) -> OwnedHandle {
        self.handle
    }

    /// The object with these rights, as far as the handle carries them: a handle to wait with can't become one to set
    /// with by being passed on.
    pub(crate) fn share(&self, usual: Access) -> Share<'_> {
        // If the kernel doesn't say, the kernel also decides what becomes of passing it on.
        let ask = || granted_access(raw_of(self.as_handle())).unwrap_or(usual);
        Share::typed(self.as_handle(), usual.intersection(*self.access.get_or_init(ask)))
    }

    /// Waits for as long as it takes.
    pub(crate) fn wait(&self, what: &'static str) -> Result<Waited> {
        wait::for_ever(self.as_handle())
            .map_err(|source| refused("WaitForSingleObject", what, "SYNCHRONIZE", source))
    }

    /// Waits for at most this long.
    pub(crate) fn wait_at_most(&self, what: &'static str, time: Duration) -> Result<Waited> {
        wait::at_most(self.as_handle(), time)
            .map_err(|source| refused("WaitForSingleObject", what, "SYNCHRONIZE", source))
    }
}

impl AsHandle for Held {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

/// Why a call on an object failed: for want of the right that it takes, or for another reason.
pub(crate) fn refused(call: &'static str, what: &str, right: &'static str, source: io::Error) -> Error {
    let what = what.to_owned();
    if source.kind() == io::ErrorKind::PermissionDenied {
        return Error::MissingRight { call, what, right };
    }
    Error::System { call, what, source }
}

/// What every object type of this crate does.
macro_rules! object {
    ($type:ident, $kind:expr, $usual:expr) => {
        impl $type {
            fn created(handle: std::os::windows::io::OwnedHandle) -> Self {
                Self { held: $crate::object::held::Held::created(handle) }
            }

            /// This object for another process, with these rights alone.
            #[must_use]
            pub fn only(&self, access: $crate::Access) -> $crate::Share<'_> {
                $crate::Share::typed(std::os::windows::io::AsHandle::as_handle(&self.held), access)
            }
        }

        impl std::os::windows::io::AsHandle for $type {
            fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
                self.held.as_handle()
            }
        }

        impl From<$type> for std::os::windows::io::OwnedHandle {
            fn from(object: $type) -> Self {
                object.held.into_handle()
            }
        }

        impl<'a> From<&'a $type> for $crate::Share<'a> {
            /// With the rights to use it, as far as this handle carries them.
            fn from(object: &'a $type) -> Self {
                object.held.share($usual)
            }
        }

        impl $crate::Object for $type {
            const KIND: Option<$crate::Kind> = Some($kind);
        }

        impl $crate::object::sealed::FromHandle for $type {
            fn from_handle(handle: std::os::windows::io::OwnedHandle) -> Self {
                Self { held: $crate::object::held::Held::received(handle) }
            }
        }
    };
}

/// Making what is unset by hand or by a waiter.
macro_rules! resets {
    ($type:ident, $what:path, $one:literal) => {
        impl $type {
            #[doc = concat!("Makes ", $one, " that stays signaled, and lets every waiter go, until somebody unsets it. It")]
            /// begins unset.
            ///
            /// # Errors
            ///
            /// [`Error::System`] if the system has no room for it.
            pub fn manual_reset() -> Result<Self> {
                $crate::name::create_unnamed($what(Reset::Manual)).map(Self::created)
            }

            #[doc = concat!("Makes ", $one, " that lets one waiter go each time, and is unset by that. It begins unset.")]
            ///
            /// # Errors
            ///
            /// [`Error::System`] if the system has no room for it.
            pub fn auto_reset() -> Result<Self> {
                $crate::name::create_unnamed($what(Reset::Auto)).map(Self::created)
            }

            #[doc = concat!("Makes ", $one, " that other processes find by its name. It begins unset.")]
            ///
            /// # Errors
            ///
            /// [`Error::NameTaken`] if anything has the name, of whatever kind and made by whomever;
            /// [`Error::InvalidInput`] for what can't be a name.
            pub fn create_named(name: &(impl $crate::AsName + ?Sized), reset: Reset) -> Result<Self> {
                $crate::name::create($what(reset), name).map(Self::created)
            }

            #[doc = concat!("Makes ", $one, " of this name, or opens the one that is there, with all rights, and says which.")]
            ///
            /// # Errors
            ///
            /// [`Error::NameTaken`] if something of another kind has the name, or something that doesn't let this user
            /// in.
            pub fn create_or_open_named(
                name: &(impl $crate::AsName + ?Sized),
                reset: Reset,
            ) -> Result<(Self, $crate::Found)> {
                let (handle, found) = $crate::name::create_or_open($what(reset), name)?;
                Ok((Self::created(handle), found))
            }
        }
    };
}

/// The waits of a type that is signaled and has no owner.
macro_rules! waits {
    ($type:ident, $what:literal, $signal:literal) => {
        impl $type {
            #[doc = concat!("Waits for ", $signal, ", however long that takes. [`wait_timeout`](Self::wait_timeout)")]
            /// is safer: nobody signals for a process that has died.
            ///
            /// # Errors
            ///
            /// [`Error::MissingRight`] if this handle came without [`Access::SYNCHRONIZE`].
            #[doc(alias = "WaitForSingleObject")]
            pub fn wait(&self) -> Result<()> {
                self.held.wait($what).map(drop)
            }

            #[doc = concat!("Waits for ", $signal, ", for at most this long.")]
            ///
            /// # Errors
            ///
            /// [`Error::TimedOut`] if it didn't come in time; [`Error::MissingRight`] if this handle came without
            /// [`Access::SYNCHRONIZE`].
            pub fn wait_timeout(&self, time: std::time::Duration) -> Result<()> {
                match self.held.wait_at_most($what, time)? {
                    $crate::sys::wait::Waited::TimedOut => {
                        Err(Error::TimedOut { what: $signal.into(), after: time })
                    }
                    _ => Ok(()),
                }
            }

            #[doc = concat!("Whether ", $signal, " is there, without waiting. A yes takes it, as any wait does.")]
            ///
            /// # Errors
            ///
            /// [`Error::MissingRight`] if this handle came without [`Access::SYNCHRONIZE`].
            pub fn try_wait(&self) -> Result<bool> {
                let waited = self.held.wait_at_most($what, std::time::Duration::ZERO)?;
                Ok(waited != $crate::sys::wait::Waited::TimedOut)
            }
        }
    };
}

/// Opening by a name.
macro_rules! opens {
    ($type:ident, $kind:expr, $what:expr, $usual:literal) => {
        impl $type {
            /// Opens the one of this name with these rights, such as
            #[doc = concat!("[`Access::", $usual, "`].")]
            ///
            /// # Errors
            ///
            /// [`Error::NoSuchObject`] if nothing has the name; [`Error::NameOfAnotherKind`]; [`Error::System`] with
            /// the access that was asked for if the object doesn't let this user in;
            /// [`Error::InvalidInput`] for what can't be a name.
            pub fn open_named(name: &(impl $crate::AsName + ?Sized), access: $crate::Access) -> Result<Self> {
                let handle = $crate::name::open($what, $kind, name, access)?;
                Ok(Self { held: $crate::object::held::Held::received(handle) })
            }
        }
    };
}

pub(crate) use {object, opens, resets, waits};
