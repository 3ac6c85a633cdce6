//! The named constructors of all kinds of objects.

use super::imp::{create, create_or_open, open};
use super::{AsObjectName, CreateOutcome};
#[cfg(windows)]
use crate::error::Error;
use crate::error::Result;
#[cfg(windows)]
use crate::handle::Access;
use crate::handle::ObjectKind;
#[cfg(windows)]
use crate::object::Mutex;
use crate::object::{
    Event, ResetMode, Semaphore, SharedMemory, Timer, event, semaphore, shared_memory, timer,
};
use crate::sys::create_object::What;
use crate::sys::rights;

/// Adds the named constructors to a type.
///
/// The arguments are: the type; for the documentation its name with an article, what an existing object keeps, and what
/// the rights to use it allow; the constructors' arguments after the name, the description of the object to create and
/// of the object to open, the kind, and the rights to open it with.
macro_rules! named {
    ($type:ident, $one:literal, $keeps:literal, $use:literal, ($($argument:ident: $argument_type:ty),*), $create:expr, $open:expr, $kind:expr, $rights:expr) => {
        impl $type {
            #[doc = concat!("Creates ", $one, " with a name, by which other processes can open it.")]
            ///
            /// The caller owns the returned object and closes it by dropping it. By default, only the current user can
            /// open the object. When the object no longer exists, its name can be used again;
            /// [`ObjectName`](crate::ObjectName) says how long it exists.
            ///
            /// # Errors
            ///
            /// [`Error::NameInUse`](crate::Error::NameInUse) if any object already has the name;
            /// [`Error::InvalidInput`](crate::Error::InvalidInput) for an invalid name or argument.
            pub fn create_named(name: &(impl AsObjectName + ?Sized) $(, $argument: $argument_type)*) -> Result<Self> {
                create($create, name).map(Self::of)
            }

            #[doc = concat!("Creates ", $one, " with a name, or opens the existing one with all rights.")]
            ///
            /// Also returns whether the object was created or opened.
            #[doc = concat!(" An existing object keeps its own ", $keeps, ".")]
            ///
            /// On Windows one system call does both, and it always asks for all rights. If the existing object doesn't
            /// grant all of them to this user, the call fails. [`open_named`](Self::open_named) asks only for the
            /// rights to use the object.
            ///
            /// # Errors
            ///
            /// [`Error::NameKindMismatch`](crate::Error::NameKindMismatch) if the name belongs to an object of another
            /// kind; [`Error::NameInUse`](crate::Error::NameInUse) if it belongs to one that this user can't open;
            /// [`Error::InvalidInput`](crate::Error::InvalidInput) for an invalid name or argument.
            pub fn create_or_open_named(
                name: &(impl AsObjectName + ?Sized) $(, $argument: $argument_type)*
            ) -> Result<(Self, CreateOutcome)> {
                let (handle, outcome) = create_or_open($create, name)?;
                Ok((Self::of(handle), outcome))
            }

            #[doc = concat!("Opens ", $one, " by its name, with the rights to ", $use, ".")]
            /// The rights to delete it and to change its permissions are not requested.
            ///
            /// The caller owns a handle of its own and closes it by dropping the returned object.
            ///
            /// # Errors
            ///
            /// [`Error::ObjectNotFound`](crate::Error::ObjectNotFound) if no object has the name;
            /// [`Error::NameKindMismatch`](crate::Error::NameKindMismatch) if the name belongs to an object of another
            /// kind;
            /// [`Error::System`](crate::Error::System) if this user can't open it;
            /// [`Error::InvalidInput`](crate::Error::InvalidInput) for an invalid name.
            pub fn open_named(name: &(impl AsObjectName + ?Sized)) -> Result<Self> {
                open($open, $kind, name, $rights).map(Self::of)
            }

            /// Opens the object with this name, with these rights. Windows only.
            ///
            /// # Errors
            ///
            /// As [`open_named`](Self::open_named); [`Error::System`](crate::Error::System) if the object doesn't grant
            /// the rights to this user; [`Error::InvalidInput`](crate::Error::InvalidInput) for an empty mask, which
            /// Windows never grants.
            #[cfg(windows)]
            #[cfg_attr(docsrs, doc(cfg(windows)))]
            pub fn open_named_with(name: &(impl AsObjectName + ?Sized), access: Access) -> Result<Self> {
                // Windows denies the access; Wine opens the object.
                if access.is_empty() {
                    return Err(Error::invalid(
                        "an access mask without rights",
                        "opens no object; pass at least one right, such as Access::SYNCHRONIZE",
                    ));
                }
                open($open, $kind, name, Some(access)).map(Self::of)
            }
        }
    };
}

named!(Event, "an event", "protection and reset mode", "wait for it, set it and reset it", (reset: ResetMode), event::what(reset), event::what(ResetMode::Manual), ObjectKind::Event, rights::EVENT);
named!(Timer, "a timer", "protection, reset mode and due time", "wait for it and set it", (reset: ResetMode), timer::what(reset), timer::what(ResetMode::Manual), ObjectKind::Timer, rights::TIMER);
named!(Semaphore, "a semaphore", "protection and count", "wait for it and release it", (count: u32), semaphore::what(count, semaphore::LARGEST)?, What::Semaphore { initial: 0, maximum: 1 }, ObjectKind::Semaphore, rights::SEMAPHORE);
named!(SharedMemory, "shared memory", "protection and size", "read and write it", (size: usize), shared_memory::what(size)?, What::SharedMemory(1), ObjectKind::SharedMemory, rights::SECTION);
#[cfg(windows)]
named!(
    Mutex,
    "a mutex",
    "protection and owner",
    "lock and unlock it",
    (),
    What::Mutex,
    What::Mutex,
    ObjectKind::Mutex,
    Some(Access::MUTEX_USE)
);

/// Named semaphores with a maximum, which Linux doesn't support.
#[cfg(windows)]
impl Semaphore {
    /// Creates a semaphore with a name, as [`create_named`](Self::create_named) does, with a maximum count. Windows
    /// only.
    ///
    /// # Errors
    ///
    /// As [`create_named`](Self::create_named) and [`with_maximum`](Self::with_maximum).
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn create_named_with_maximum(
        name: &(impl AsObjectName + ?Sized),
        count: u32,
        maximum: u32,
    ) -> Result<Self> {
        create(semaphore::what(count, maximum)?, name).map(Self::of)
    }

    /// Creates or opens a semaphore with a name, as [`create_or_open_named`](Self::create_or_open_named) does. The
    /// maximum count applies only if it is created. Windows only.
    ///
    /// # Errors
    ///
    /// As [`create_or_open_named`](Self::create_or_open_named) and [`with_maximum`](Self::with_maximum).
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn create_or_open_named_with_maximum(
        name: &(impl AsObjectName + ?Sized),
        count: u32,
        maximum: u32,
    ) -> Result<(Self, CreateOutcome)> {
        let (handle, outcome) = create_or_open(semaphore::what(count, maximum)?, name)?;
        Ok((Self::of(handle), outcome))
    }
}
