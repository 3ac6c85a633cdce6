//! Creating processes.

pub(crate) mod ground;
mod lifetime;
mod lookup;
mod remote;
mod sealed;
mod spawn;
mod stream;
mod suspended;

pub(crate) use remote::Remote;
pub(crate) use sealed::Helper;
pub(crate) use spawn::{spawn, spawn_suspended};
pub use suspended::Suspended;
