//! Give another process your kernel objects: by inheritance, by duplication, by name.
//!
//! A handle is an index into one process's handle table, and means nothing in another process. This crate brings the
//! object that it refers to into another process's table, and tells that process where.
//!
//! | strategy | the other process is | this process calls | the other calls |
//! |---|---|---|---|
//! | inheritance | a child that is about to be created | [`Command::inherit`] | [`inherited`], or [`Told::adopt`] |
//! | duplication | running | [`Process::duplicate_from`]; on Windows `Process::duplicate_into` | nothing; [`Told::adopt`] |
//! | naming | any that knows the name | [`Event::create_named`] | [`Event::open_named`] |
//! | duplication, as messages | a child, or any that this one's user runs | [`Channel::send`] | [`Channel::recv`] |
//!
//! Three things hold everywhere:
//!
//! - A child gets the objects listed for it and its three standard streams, and no other handle.
//! - The caller's handles are not touched: no flag is flipped, not even for a moment.
//! - A typed object travels with the rights to use it and not with those to own it, where a handle carries rights.
//!
#![doc = include_str!("../docs/strategies.md")]
//!
//! # The map
//!
//! [`Event`], [`Semaphore`], [`Section`], [`Timer`], on Windows `Mutex`, files and other handles are what is shared;
//! [`Share`] is an object on its way, with its access; [`HandleValue`] is the number that one process tells another, and
//! [`Told`] one that came; [`Command`], [`Child`] and [`Process`] are the other process; [`Kind`] is the kernel's answer to
//! what a handle refers to; [`Channel`] carries [`Message`]s with objects in them, and a [`Listener`] lets strangers meet;
//! [`wait_any`] waits for several things; [`Table`] shows what any process has, and [`shared`](fn@shared) what two have in
//! common; [`Audit`] finds what other programs, or other code of this one, let their
//! children inherit without listing it; [`Error`] says what went wrong and what to do.
//!
//! # Seeing the calls
//!
//! With the feature `tracing`, which is off by default, each system call that the library makes is one event of the crate
//! [`tracing`](https://docs.rs/tracing), with the target `handover::call`. One that does something has the level `DEBUG`, one
//! that only asks `TRACE`. Whatever opens or closes a handle is among the former. The fields:
//!
//! | field | what it says | for example |
//! |---|---|---|
//! | `call` | the call's name | `DuplicateHandle` |
//! | `arguments` | what it was made with | `handle 0x30, into process 272, access 0x00100000` |
//! | `result` | what came of it; after a failure, the system's text for the error | `ok`, `0x30`, `signaled`, `3 bytes` |
//! | `failed` | whether it failed | `false` |
//! | `nanoseconds` | how long it took | `2710` |
//! | `effects` | what it did to handle tables, separated by spaces; empty if nothing | `+0xc@272=0x30` |
//!
//! Two effects there are. `+VALUE` is a handle that was opened under this value, and `-VALUE` one that was closed. A value in
//! another process's table is `VALUE@PROCESS`, with that process's id, or `?` if the system doesn't tell it. `=VALUE` behind
//! an opened one is the handle, of this process or another, of whose object it is a copy. So `+0xc@272=0x30` is a copy in
//! process 272 of this process's 0x30, `+0x44=0xc@272` one that was taken out of there, and `-0x30` the end of the first. A
//! process that was created has what it inherits: `+0x40@272=0x40`.
//!
//! All effects of a process, in their order, make up its table, apart from what others do to it. What becomes of a handle that
//! a program has taken as one of std's types isn't told: std closes it, and std reads and writes a child's streams. Nor is what
//! a new process does before it runs its program. Reading one of the kernel's pages or folders about a process or a
//! descriptor is one event, though it takes more calls. So is what std does to start the command of an audit, of which only
//! what stays open here is told. Events of several threads can come in another order than their calls were made. An
//! event doesn't change what the system's last error was, and what a subscriber calls of this crate in return makes none.
//!
//! # Platforms
//!
//! Windows 10 and later; Linux 5.11 and later. Programs that use what both have are written once, also where they name
//! std's handle types: [`OwnedHandle`], [`BorrowedHandle`] and [`AsHandle`] are those of the system.
//!
#![doc = include_str!("../docs/linux.md")]

mod audit;
mod channel;
mod duplicate;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod inherit;
mod kind;
mod name;
mod object;
mod os;
mod process;
mod shared;
mod sys;
mod table;
mod told;
mod value;
mod wait;

pub use audit::{Audit, Auditing, Standing, Started};
pub use channel::{Channel, Incoming, Listener, Message, Received};
pub use error::{Error, Result};
pub use inherit::{Inherited, Unlisted, inherited, unlisted};
pub use kind::Kind;
pub use name::{AsName, Found};
pub use object::{Event, Object, Reset, Section, Semaphore, Share, Timer, View, ViewMut};
pub use os::public::*;
pub use process::{Child, Command, Identity, Process, Stdio};
pub use shared::{SharedObject, Sharing, shared};
/// What std has for a process and its streams serves as it is.
#[doc(no_inline)]
pub use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use sys::fault as faults;
/// std's own handle types under the names that they have on Windows; on Linux they are `AsFd`, `BorrowedFd` and `OwnedFd`.
#[doc(no_inline)]
pub use sys::io::{AsHandle, BorrowedHandle, OwnedHandle};
pub use table::{Entry, Table, Untold};
pub use told::Told;
pub use value::HandleValue;
pub use wait::{Came, MOST_WAITED_FOR, Waitable, wait_any};
