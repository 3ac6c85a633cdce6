//! What each system does in its own way, above its calls and below what is the same everywhere.
//!
//! Each provides:
//! - `Held`: what an object type has inside; `Name`, `User`, `SingleInstance`;
//! - `name`: creating objects, with a name or without, and opening them by it;
//! - `process`: starting a child, with `Options` and `Argument` for what only this builder can say; `leave`: what becomes
//!   of a child that nobody waits for; `open_process`;
//! - `audit`: running a command as its debugger;
//! - `channel`: both ends of one, and the `Door` through which clients come;
//! - `look`: other processes' handle tables;
//! - `check_is_meant_for_this_process`: whether a manifest is; `activated`: what a service manager has handed down.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(not(any(windows, target_os = "linux")))]
compile_error!("handover runs on Windows and on Linux");
