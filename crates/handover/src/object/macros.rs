//! What the object types of this crate have in common.

/// What every object type of this crate does.
macro_rules! object {
    ($type:ident, $kind:expr, $usual:expr) => {
        impl $type {
            #[allow(unused, reason = "not every system has each way to come by one")]
            pub(crate) fn of(held: $crate::object::ObjectHandle) -> Self {
                Self { held }
            }

            #[allow(dead_code, reason = "only Windows has rights to choose from")]
            pub(crate) fn held(&self) -> &$crate::object::ObjectHandle {
                &self.held
            }
        }

        $crate::sys::io::as_handle!($type, held);

        impl From<$type> for $crate::sys::io::OwnedHandle {
            fn from(object: $type) -> Self {
                object.held.into_handle().into()
            }
        }

        impl<'a> From<&'a $type> for $crate::object::BorrowedObject<'a> {
            /// With the rights to use it, as far as this handle carries them.
            fn from(object: &'a $type) -> Self {
                object.held.share($usual)
            }
        }

        impl $crate::object::Object for $type {
            const KIND: Option<$crate::handle::ObjectKind> = Some($kind);
        }

        impl $crate::object::sealed::FromHandle for $type {
            fn from_handle(handle: $crate::sys::io::Owned) -> Self {
                Self { held: $crate::object::ObjectHandle::received(handle) }
            }

            fn from_adopted(handle: $crate::sys::io::Owned, claim: $crate::object::adopt::Claim) -> Self {
                Self { held: $crate::object::ObjectHandle::adopted(handle, claim) }
            }
        }
    };
}

/// The unnamed constructors of a type with a reset mode.
macro_rules! resets {
    ($type:ident, $what:path, $one:literal) => {
        impl $type {
            #[doc = concat!("Creates ", $one, " that, once signaled, stays signaled and releases all waiters, until it is reset.")]
            ///
            /// It starts unsignaled.
            ///
            /// # Errors
            ///
            /// [`Error::System`] if the system has no resources for it.
            pub fn manual_reset() -> Result<Self> {
                $crate::object::ObjectHandle::unnamed($what(ResetMode::Manual)).map(Self::of)
            }

            #[doc = concat!("Creates ", $one, " that, once signaled, releases one waiter and is reset by that.")]
            ///
            /// It starts unsignaled.
            ///
            /// # Errors
            ///
            /// [`Error::System`] if the system has no resources for it.
            pub fn auto_reset() -> Result<Self> {
                $crate::object::ObjectHandle::unnamed($what(ResetMode::Auto)).map(Self::of)
            }
        }
    };
}

/// The waits of a type that is signaled and has no owner.
macro_rules! waits {
    ($type:ident, $what:literal, $signal:literal) => {
        impl $type {
            #[doc = concat!("Waits until ", $signal, ", without a timeout.")]
            ///
            /// [`wait_timeout`](Self::wait_timeout) is safer: a process that exits never signals.
            ///
            /// # Errors
            ///
            /// [`Error::AccessDenied`] if this handle lacks the right to wait.
            #[doc(alias = "WaitForSingleObject")]
            pub fn wait(&self) -> Result<()> {
                self.held.wait($what).map(drop)
            }

            #[doc = concat!("Waits until ", $signal, ", at most for the timeout.")]
            ///
            /// # Errors
            ///
            /// [`Error::TimedOut`]; [`Error::AccessDenied`] if this handle lacks the right to wait.
            pub fn wait_timeout(&self, timeout: std::time::Duration) -> Result<()> {
                match self.held.wait_at_most($what, timeout)? {
                    $crate::sys::wait::Waited::TimedOut => {
                        Err(Error::TimedOut { waiting_for: $what.into(), timeout })
                    }
                    _ => Ok(()),
                }
            }

            #[doc = concat!("Returns whether ", $signal, ", without waiting. If so, the wait has taken effect, as any wait does.")]
            ///
            /// # Errors
            ///
            /// [`Error::AccessDenied`] if this handle lacks the right to wait.
            pub fn try_wait(&self) -> Result<bool> {
                let waited = self.held.wait_at_most($what, std::time::Duration::ZERO)?;
                Ok(waited != $crate::sys::wait::Waited::TimedOut)
            }
        }

        $crate::wait::waitable!($type);
    };
}

pub(crate) use {object, resets, waits};
