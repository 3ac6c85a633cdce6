//! What tests ask the system itself, without the library that is tested. The same on each system by its face; what only
//! one has is for the tests in `tests/os`.
//!
//! Each provides:
//! - `table`: what is in a process's table, under which value, with which access; ending processes and seeing them end;
//! - `raw`: objects that the library didn't make;
//! - `weaker`: a channel's end in the hands of a program that doesn't play by the rules;
//! - `door`: a listener's door, as a program finds it that wants no channel;
//! - `MISDEEDS`: what a program can do wrong that doesn't play by them, here alone;
//! - `expect`: what differs between systems and doesn't matter.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;
