//! Looking into handle tables: the handles of a process, the objects that two processes share, and the handles that
//! leak into children.
//!
//! Read one table with [`HandleTable`], compare two with [`shared_objects`], and follow all processes of a command with
//! [`Audit`].

// Each system's half provides `handle_table`, which reads the table of a process and compares two, and `audit`, which
// follows the processes of a command. `observe` follows the calls of a command.
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
#[cfg(feature = "observe")]
#[doc(hidden)]
pub mod observe;
pub(crate) mod shared_objects;
#[cfg(all(
    feature = "observe",
    not(any(all(target_os = "linux", target_pointer_width = "64"), all(windows, target_arch = "x86_64")))
))]
mod untraced;

pub use audit::{Audit, AuditCommand, AuditReport, AuditedProcess, Origin};
pub use handle_table::{HandleEntry, HandleTable, Unavailable};
pub use shared_objects::{SharedObject, SharedObjects, shared_objects};
