//! Gives another process your kernel objects: by inheritance, by duplication, or by name.
//!
//! ```no_run
//! use std::time::Duration;
//! use handover::{Command, Event};
//!
//! // The parent starts a child with one event, and with no other handle.
//! let ready = Event::manual_reset()?;
//! let mut child = Command::new("worker").inherit("ready", &ready).spawn()?;
//! ready.set()?;
//! child.wait_timeout(Duration::from_secs(5))?;
//! # Ok::<(), handover::Error>(())
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//! use handover::Event;
//!
//! // The child, another program, takes the event by name and type.
//! let ready: Event = handover::inherited()?.take("ready")?;
//! ready.wait_timeout(Duration::from_secs(5))?;
//! # Ok::<(), handover::Error>(())
//! ```
//!
//! A handle is an index into one process's handle table, and means nothing in another process. This crate brings the
//! object into the other process's table and tells that process about it: each object arrives with a *name* and a
//! *kind*, and the receiver takes each one once, by name, as the type that it expects. The receiver asks the kernel for
//! the kind.
//!
//! Three things hold everywhere:
//!
//! - A child gets the objects listed for it and its three standard streams, and no other handle.
//! - The caller's handles are not changed, and never made inheritable. Windows passes inheritable duplicates.
//! - The receiver of a typed object gets the rights to use it, and not those to delete it or to change its permissions.
//!
//! # What do you want to do?
//!
//! | task | start with |
//! |---|---|
//! | start a child with objects | [`Command::inherit`]; in the child [`inherited`] and [`Inherited::take`] |
//! | give objects to a child that std's or tokio's `Command` starts | `os::linux::InheritExt`, on Linux |
//! | replace `std::process` in a program | the module [`process`] |
//! | pass a handle's value to a program that doesn't use this crate | [`Command::arg_handle`] and [`Command::env_handle`] |
//! | use a handle whose value this process was told | [`HandleValue::adopt`] |
//! | send objects to a running process | [`Channel`]: with [`Command::channel`] to a child, with [`Listener`] to any process of the same user |
//! | send values of your own types, with objects inside them | `Carried` and `TypedChannel`, with the feature `serde` |
//! | ask a process and wait for its reply | [`Channel::call`], [`ReceivedMessage::reply`] |
//! | give a process an endpoint of a channel, or connect two others | [`Channel::pair`], [`Message::with_channel`], [`introduce`] |
//! | push or pull one handle | `Process::duplicate_into` on Windows, [`Process::duplicate_from`] |
//! | share an object by a name | [`Event::create_named`] and [`Event::open_named`]; [`SingleInstance`] for programs that run once |
//! | share memory | [`SharedMemory`] |
//! | wait for an event, a timer, or a process | [`Event::wait_timeout`], [`Child::wait_timeout`]; [`wait_any`] for several, a [`WaitSet`] for many, with channels and listeners |
//! | find handles that leaked into this process | [`leaked_handles`] |
//! | look into handle tables and find leaks | `inspect::HandleTable`, `inspect::shared_objects` and `inspect::Audit` |
//! | do all that in an asynchronous program | the features `tokio` and `async-io` |
//! | see each system call | the feature `tracing` |
//! | use what one system alone has | [`os`] |
//!
#![doc = include_str!("../docs/strategies.md")]
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `tokio` | the module `handover::tokio`: channels, listeners, children and waits as futures, for programs that run on [`tokio`](https://docs.rs/tokio); on Linux also `os::linux::InheritExt` for its `Command` |
//! | `async-io` | the module `handover::async_io`: the same for [`async-io`](https://docs.rs/async-io), which smol uses |
//! | `inspect`, on by default | the module `handover::inspect`: the handle table of a process, the objects that two processes share, and audits, which find the handles that leak into the processes of a command |
//! | `serde` | messages that are values of your own types, with objects inside them: `Carried`, `TypedChannel`, `Message::from_value` and `ReceivedMessage::into_value` |
//! | `tracing` | one [`tracing`](https://docs.rs/tracing) event for each system call that the library makes, with its arguments, result, and effects on handle tables |
//!
//! The other features are off by default. A program that doesn't look into handle tables compiles a tenth less without `inspect`
//! (`default-features = false`).
//!
//! # Platforms
//!
//! Windows 10 and later, and Linux 5.10 and later. [`OwnedHandle`], [`BorrowedHandle`] and [`AsHandle`] are
//! std's handle types on Windows, and std's descriptor types on Linux, so one source can serve both.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(windows, target_os = "linux")))]
compile_error!("handover runs on Windows and on Linux");

// In the order of docs/architecture.md, the lowest layer first.
mod handle;

mod sys;

mod error;

mod wait;

mod object;

mod inherit;

pub mod process;

mod duplicate;
mod name;

mod channel;

#[cfg(feature = "inspect")]
#[cfg_attr(docsrs, doc(cfg(feature = "inspect")))]
pub mod inspect;

#[cfg(target_os = "linux")]
mod spawner;

#[cfg(feature = "_async")]
mod futures;

#[cfg(feature = "async-io")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
pub mod async_io;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod tokio;

#[cfg(feature = "serde")]
mod typed;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod os;

pub use channel::{
    Channel, Incoming, Limits, Listener, Message, ReceivedMessage, introduce, introduce_timeout,
};
pub use error::{Error, Result};
pub use handle::{HandleValue, ObjectKind, ProcessIdentity};
pub use inherit::{Inherited, LeakedHandle, inherited, leaked_handles};
pub use name::{AsObjectName, CreateOutcome, ObjectName, SingleInstance};
pub use object::{BorrowedObject, Event, Object, ResetMode, Semaphore, SharedMemory, Timer, View, ViewMut};
pub use process::command::Command;
pub use process::imp::User;
pub use process::process::Process;
pub use process::{Child, Stdio};
/// std's types for a child's streams and exit status.
#[doc(no_inline)]
pub use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
#[cfg(feature = "faults")]
#[doc(hidden)]
pub use sys::fault_injection as faults;
/// std's handle types under their names on Windows; on Linux they are `AsFd`, `BorrowedFd` and `OwnedFd`.
#[doc(no_inline)]
pub use sys::io::{AsHandle, BorrowedHandle, OwnedHandle};
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub use typed::{Carried, Carry, TypedChannel, TypedReply};
pub use wait::set::{Ready, WaitSet};
pub use wait::{MAX_WAIT_OBJECTS, Signaled, Waitable, wait_any};
