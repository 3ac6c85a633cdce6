//! The Linux half: descriptors in `/proc`, and `ptrace`.

pub(super) mod audit;
mod audited_process;
#[cfg(feature = "observe")]
mod calls;
pub(super) mod handle_table;
#[cfg(feature = "observe")]
pub(super) mod observe;
mod tracees;
