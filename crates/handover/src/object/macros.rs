//! What the object types of this crate have in common.

/// What every object type of this crate does.
macro_rules! object {
    ($type:ident, $kind:expr, $usual:expr) => {
        impl $type {
            #[allow(unused, reason = "not every system has each way to come by one")]
            pub(crate) fn of(held: $crate::os::Held) -> Self {
                Self { held }
            }

            #[allow(unused, reason = "not every system has rights to choose from")]
            pub(crate) fn held(&self) -> &$crate::os::Held {
                &self.held
            }
        }

        $crate::sys::io::as_handle!($type, held);

        impl From<$type> for $crate::sys::io::OwnedHandle {
            fn from(object: $type) -> Self {
                object.held.into_handle().into()
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
            fn from_handle(handle: $crate::sys::io::Owned) -> Self {
                Self { held: $crate::os::Held::received(handle) }
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
                $crate::os::name::create_unnamed($what(Reset::Manual)).map(Self::of)
            }

            #[doc = concat!("Makes ", $one, " that lets one waiter go each time, and is unset by that. It begins unset.")]
            ///
            /// # Errors
            ///
            /// [`Error::System`] if the system has no room for it.
            pub fn auto_reset() -> Result<Self> {
                $crate::os::name::create_unnamed($what(Reset::Auto)).map(Self::of)
            }

            #[doc = concat!("Makes ", $one, " that other processes find by its name. It begins unset.")]
            ///
            /// # Errors
            ///
            /// [`Error::NameTaken`] if anything has the name, of whatever kind and made by whomever;
            /// [`Error::InvalidInput`] for what can't be a name.
            pub fn create_named(name: &(impl $crate::AsName + ?Sized), reset: Reset) -> Result<Self> {
                $crate::os::name::create($what(reset), name).map(Self::of)
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
                let (held, found) = $crate::os::name::create_or_open($what(reset), name)?;
                Ok((Self::of(held), found))
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
            /// [`Error::MissingRight`] if this handle came without the right to wait.
            #[doc(alias = "WaitForSingleObject")]
            pub fn wait(&self) -> Result<()> {
                self.held.wait($what).map(drop)
            }

            #[doc = concat!("Waits for ", $signal, ", for at most this long.")]
            ///
            /// # Errors
            ///
            /// [`Error::TimedOut`] if it didn't come in time; [`Error::MissingRight`] if this handle came without
            /// the right to wait.
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
            /// [`Error::MissingRight`] if this handle came without the right to wait.
            pub fn try_wait(&self) -> Result<bool> {
                let waited = self.held.wait_at_most($what, std::time::Duration::ZERO)?;
                Ok(waited != $crate::sys::wait::Waited::TimedOut)
            }
        }
    };
}

/// Opening by a name.
macro_rules! opens {
    ($type:ident, $kind:expr, $what:expr, $usual:expr) => {
        impl $type {
            /// Opens the one of this name, with the rights to use it.
            ///
            /// # Errors
            ///
            /// [`Error::NoSuchObject`] if nothing has the name; [`Error::NameOfAnotherKind`]; [`Error::System`] if the
            /// object doesn't let this user in; [`Error::InvalidInput`] for what can't be a name.
            pub fn open_named(name: &(impl $crate::AsName + ?Sized)) -> Result<Self> {
                $crate::os::name::open($what, $kind, name, $usual).map(Self::of)
            }
        }
    };
}

pub(crate) use {object, opens, resets, waits};
