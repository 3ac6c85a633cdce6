//! Processes: an identity, a builder, and what one has of a child.

#[cfg(windows)]
mod child;
#[cfg(windows)]
mod command;
#[cfg(any(windows, test))]
mod environment;
mod identity;
#[cfg(windows)]
mod lifetime;
#[cfg(windows)]
mod lookup;
#[cfg(windows)]
mod peer;
#[cfg(any(windows, test))]
mod quote;
#[cfg(windows)]
mod remote;
#[cfg(windows)]
mod sealed;
#[cfg(windows)]
mod spawn;
#[cfg(windows)]
mod stdio;
#[cfg(windows)]
mod suspended;
#[cfg(any(windows, test))]
mod template;

#[cfg(windows)]
pub use self::{child::Child, command::Command, peer::Process, stdio::Stdio, suspended::Suspended};
#[cfg(windows)]
pub(crate) use self::{peer::identity_of, remote::Remote, sealed::Helper};
pub use identity::Identity;
