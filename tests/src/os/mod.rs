//! Helpers of the tests that make bare system calls, without the library under test. The modules of
//! each system have the same interface; additional functions serve the tests in `tests/os`.
//!
//! Each system provides:
//! - `table`: reads processes' handle tables, kills processes, and waits for their exit;
//! - `raw`: creates objects without the library;
//! - `weaker`: a channel's endpoint for programs that break the protocol;
//! - `door`: a listener's pipe or socket, for clients that open it without the library;
//! - `ATTACKS`: the attacks that are specific to the system;
//! - `expect`: values that differ between systems.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;
