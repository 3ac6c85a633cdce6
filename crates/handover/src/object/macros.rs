//! Macros that implement what this crate's object types have in common.

/// Implements the traits and conversions of an object type.
macro_rules! object {
    ($type:ident, $kind:expr, $default_rights:expr) => {
        impl $type {
            #[allow(unused, reason = "used by the constructors that exist on this system")]
            pub(crate) fn of(handle: $crate::object::ObjectHandle) -> Self {
                Self { handle }
            }

            #[allow(dead_code, reason = "used only on Windows, where rights can be chosen")]
            pub(crate) fn object_handle(&self) -> &$crate::object::ObjectHandle {
                &self.handle
            }
        }

        $crate::sys::io::as_handle!($type, handle);

        impl From<$type> for $crate::sys::io::OwnedHandle {
            fn from(object: $type) -> Self {
                object.handle.into_handle().into()
            }
        }

        impl TryFrom<$crate::sys::io::OwnedHandle> for $type {
            type Error = $crate::error::Error;

            /// Converts a handle to an object of this kind. After an error, the handle has been closed.
            ///
            /// # Errors
            ///
            /// [`Error::WrongKind`](crate::Error::WrongKind) if the object has another kind;
            /// [`Error::InvalidHandleValue`](crate::Error::InvalidHandleValue) for a pseudo handle.
            fn try_from(handle: $crate::sys::io::OwnedHandle) -> $crate::error::Result<Self> {
                $crate::object::typed(handle)
            }
        }

        impl $type {
            /// Returns a second handle to the same object, with the same access, as `File::try_clone` does.
            ///
            /// The caller owns it; dropping it closes the handle.
            ///
            /// # Errors
            ///
            /// [`Error::System`](crate::Error::System) if this process has no room for another handle.
            #[doc(alias = "DuplicateHandle", alias = "dup")]
            pub fn try_clone(&self) -> $crate::error::Result<Self> {
                self.handle.try_clone($kind.name()).map(Self::of)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let handle = $crate::sys::value::number_of($crate::sys::io::HasHandle::handle(self));
                f.debug_struct(stringify!($type)).field("handle", &handle).finish()
            }
        }

        impl<'a> From<&'a $type> for $crate::object::BorrowedObject<'a> {
            /// Borrows the object. A copy gets the rights to use it, as far as this handle has them.
            fn from(object: &'a $type) -> Self {
                object.handle.share(&$kind, $default_rights)
            }
        }

        impl $crate::object::Object for $type {
            const KIND: Option<$crate::handle::ObjectKind> = Some($kind);
        }

        impl $crate::object::sealed::FromHandle for $type {
            #[inline]
            fn check(
                value: $crate::handle::HandleValue,
                described: &dyn Fn() -> String,
            ) -> $crate::error::Result<()> {
                $crate::object::check_size(&$kind, value, described)
            }

            #[inline]
            fn from_handle(handle: $crate::sys::io::Owned) -> Self {
                Self { handle: $crate::object::ObjectHandle::received(handle) }
            }

            fn from_adopted(handle: $crate::sys::io::Owned, claim: $crate::object::adopt::Claim) -> Self {
                Self { handle: $crate::object::ObjectHandle::adopted(handle, claim) }
            }
        }
    };
}

/// Implements the constructors of unnamed objects for a type with a reset mode.
macro_rules! resets {
    ($type:ident, $what:path, $one:literal, $reset:literal) => {
        impl $type {
            #[doc = concat!("Creates ", $one, " that, once signaled, releases all waiters until ", $reset, ".")]
            ///
            /// It starts unsignaled. The caller owns it; dropping it closes the handle.
            ///
            /// # Errors
            ///
            /// [`Error::System`] if the system has no resources for another object.
            pub fn manual_reset() -> Result<Self> {
                $crate::object::ObjectHandle::unnamed($what(ResetMode::Manual)).map(Self::of)
            }

            #[doc = concat!("Creates ", $one, " that, once signaled, releases one waiter, which resets it.")]
            ///
            /// It starts unsignaled. The caller owns it; dropping it closes the handle.
            ///
            /// # Errors
            ///
            /// [`Error::System`] if the system has no resources for another object.
            pub fn auto_reset() -> Result<Self> {
                $crate::object::ObjectHandle::unnamed($what(ResetMode::Auto)).map(Self::of)
            }
        }
    };
}

/// Implements the waits of a type that can be signaled and has no owning thread.
///
/// The arguments are: the type, its description in errors, what a wait waits for in errors, its signal, the reason why a
/// wait may never return, and what a wait does to it.
macro_rules! waits {
    ($type:ident, $what:literal, $awaited:literal, $signal:literal, $endless:literal, $effect:literal) => {
        impl $type {
            #[doc = concat!("Waits until ", $signal, ", without a timeout.")]
            ///
            #[doc = concat!("Prefer [`wait_timeout`](Self::wait_timeout): if ", $endless, ", `wait` never returns.")]
            /// With [`wait_any`](crate::wait_any), the exit of another process can end the wait too.
            ///
            /// # Errors
            ///
            /// [`Error::AccessDenied`] if the handle lacks the right to wait.
            #[doc(alias = "WaitForSingleObject")]
            pub fn wait(&self) -> Result<()> {
                self.handle.wait($what).map(drop)
            }

            #[doc = concat!("Waits until ", $signal, ", or until the timeout has passed.")]
            ///
            /// # Errors
            ///
            /// [`Error::TimedOut`] if the timeout passes first; [`Error::AccessDenied`] if the handle lacks the right
            /// to wait.
            pub fn wait_timeout(&self, timeout: std::time::Duration) -> Result<()> {
                match self.handle.wait_at_most($what, timeout)? {
                    $crate::sys::wait::Waited::TimedOut => {
                        Err(Error::TimedOut { waiting_for: $awaited.into(), timeout })
                    }
                    _ => Ok(()),
                }
            }

            #[doc = concat!("Returns whether ", $signal, ", without blocking.")]
            ///
            #[doc = concat!("If it returns `true`, it ", $effect, ", as a wait does.")]
            ///
            /// # Errors
            ///
            /// [`Error::AccessDenied`] if the handle lacks the right to wait.
            pub fn try_wait(&self) -> Result<bool> {
                let waited = self.handle.wait_at_most($what, std::time::Duration::ZERO)?;
                Ok(waited != $crate::sys::wait::Waited::TimedOut)
            }
        }

        $crate::wait::waitable!($type);
    };
}

pub(crate) use {object, resets, waits};
