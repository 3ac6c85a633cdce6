//! Give another process your kernel objects: by inheritance, by duplication, by name.
//!
//! A handle is an index into one process's handle table, and means nothing in another process. This crate brings the
//! object that it refers to into another process's table, and tells that process where.
//!
//! | strategy | the other process is | this process calls | the other calls |
//! |---|---|---|---|
//! | inheritance | a child that is about to be created | [`Command::inherit`] | [`inherited`], or [`Told::adopt`] |
//! | duplication | running | [`Process::duplicate_into`], [`Process::duplicate_from`] | [`Told::adopt`] |
//! | naming | any that knows the name | [`Event::create_named`] | [`Event::open_named`] |
//! | duplication, as messages | a child, or any that this one's user runs | [`Channel::send`] | [`Channel::recv`] |
//!
//! Three things hold everywhere:
//!
//! - A child gets the objects listed for it and its three standard streams, and no other handle.
//! - The caller's handles are not touched: no flag is flipped, not even for a moment.
//! - A typed object travels with the rights to use it and not with those to own it ([`Access`]).
//!
#![doc = include_str!("../docs/strategies.md")]
//!
//! # The map
//!
//! [`Event`], [`Mutex`], [`Semaphore`], [`Section`], [`Timer`], files and other handles are what is shared; [`Share`] is an object on its way, with its access; [`HandleValue`] is the number
//! that one process tells another, and [`Told`] one that came; [`Command`], [`Child`] and [`Process`] are the other process; [`Kind`] is the
//! kernel's answer to what a handle refers to; [`Channel`] carries [`Message`]s with objects in them, and a [`Listener`] lets strangers meet;
//! [`wait_any`] waits for several things; [`Error`] says what went wrong and what to do.
//!
//! # Platforms
//!
//! Windows 10 and later. Elsewhere only what needs no operating system is there: [`HandleValue`], [`Access`], [`Kind`],
//! [`Identity`] and [`Error`].

// The pages are written for the platform that has everything; `cargo xtask test` checks their links there.
#![cfg_attr(not(windows), allow(rustdoc::broken_intra_doc_links))]

mod access;
#[cfg(any(windows, test))]
mod channel;
mod error;
mod kind;
mod value;

#[cfg(windows)]
mod duplicate;
#[cfg(any(windows, test))]
mod inherit;
#[cfg(windows)]
mod name;
#[cfg(windows)]
mod object;
mod process;
#[cfg(windows)]
mod single;
mod sys;
#[cfg(windows)]
mod told;
#[cfg(windows)]
mod user;
#[cfg(windows)]
mod wait;

pub use access::Access;
pub use error::{Error, Result};
pub use kind::Kind;
pub use process::Identity;
pub use value::HandleValue;

#[cfg(windows)]
pub use channel::{Channel, Incoming, Listener, Message, Received};
#[cfg(windows)]
pub use duplicate::Undelivered;
#[cfg(windows)]
pub use inherit::{Inherited, Unlisted, inherited, unlisted};
#[cfg(windows)]
pub use name::{AsName, Found, Name, SecurityDescriptor};
#[cfg(windows)]
pub use object::{
    Event, LockError, Mutex, MutexGuard, Object, Reset, Section, Semaphore, Share, Timer, View, ViewMut,
};
#[cfg(windows)]
pub use process::{Child, Command, Process, Stdio, Suspended};
#[cfg(windows)]
pub use single::SingleInstance;
/// What std has for a process and its streams serves as it is.
#[cfg(windows)]
#[doc(no_inline)]
pub use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use sys::fault as faults;
#[cfg(windows)]
pub use told::Told;
#[cfg(windows)]
pub use user::User;
#[cfg(windows)]
pub use wait::{Came, MOST_WAITED_FOR, Waitable, wait_any};
