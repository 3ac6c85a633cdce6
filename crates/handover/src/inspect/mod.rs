//! Looking into handle tables: what a process has, what two share, and what leaks into children.

pub(crate) mod audit;
pub(crate) mod handle_table;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as imp;
pub(crate) mod shared_objects;

pub use audit::{Audit, AuditReport, AuditedProcess, Origin};
pub use handle_table::{HandleEntry, HandleTable, Unavailable};
pub use shared_objects::{SharedObject, SharedObjects, shared_objects};
