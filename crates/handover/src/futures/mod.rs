//! The futures that adapters to asynchronous runtimes offer, free of any runtime.
//!
//! An adapter is one file. On Linux it implements [`Reactor`], which registers a descriptor with the runtime and waits for it.
//! On Windows threads of the library wait, and the runtime has no part in it. The macro `adapter` (`face.rs`) writes the
//! adapter's public types around the types of this module.
//!
//! | file | contents |
//! |---|---|
//! | `channel.rs`, `listener.rs`, `child.rs`, `stream.rs` | the types, for any runtime |
//! | `face.rs`, `typed_face.rs` | the macros for their public faces |
//!
//! Each system's half, in `linux` and `windows`, provides:
//!
//! - `Reactor`, what it needs of a runtime,
//! - `ChannelIo`, which waits for an endpoint,
//! - `wait`, which waits for an object,
//! - `Pipe`, a child's stream.

mod channel;
mod child;
mod face;
#[cfg(target_os = "linux")]
mod linux;
mod listener;
mod stream;
#[cfg(feature = "serde")]
mod typed_face;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(windows)]
use windows as imp;

pub(crate) use channel::Channel;
pub(crate) use child::Child;
pub(crate) use face::adapter;
pub(crate) use imp::Reactor;
pub(crate) use listener::{Incoming, Listener};
pub(crate) use stream::Stream;
#[cfg(feature = "serde")]
pub(crate) use typed_face::typed_adapter;

use std::time::Duration;

use crate::error::Result;
use crate::object::Timer;
use crate::wait::Waitable;

/// Waits until the object is signaled, or the process has exited. Dropping the future takes nothing.
pub(crate) async fn wait<R: Reactor>(object: &(impl Waitable + ?Sized)) -> Result<()> {
    imp::wait::<R, _>(object).await
}

/// Waits for this time.
async fn sleep<R: Reactor>(time: Duration) -> Result<()> {
    let timer = Timer::manual_reset()?;
    timer.set_once(time)?;
    wait::<R>(&timer).await
}
