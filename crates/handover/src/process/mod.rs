//! Processes: an identity, a builder, and what one has of a child.

#[cfg(windows)]
mod child;
#[cfg(windows)]
mod command;
mod environment;
#[cfg(windows)]
mod identity;
#[cfg(windows)]
mod lookup;
mod quote;
#[cfg(windows)]
mod spawn;
#[cfg(windows)]
mod stdio;
mod template;

#[cfg(windows)]
pub use self::{child::Child, command::Command, identity::Process, stdio::Stdio};
