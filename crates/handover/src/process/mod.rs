//! Processes: an identity, a builder, and what one has of a child.

#[cfg(windows)]
mod child;
#[cfg(windows)]
mod command;
mod environment;
#[cfg(windows)]
mod identity;
#[cfg(windows)]
mod lifetime;
#[cfg(windows)]
mod lookup;
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
mod template;

#[cfg(windows)]
pub use self::{child::Child, command::Command, identity::Process, stdio::Stdio, suspended::Suspended};
#[cfg(windows)]
pub(crate) use self::{identity::Stamp, remote::Remote, sealed::Helper};
