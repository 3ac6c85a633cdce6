//! The Linux half: descriptors in `/proc`, and `ptrace`.

pub(super) mod audit;
mod audited_process;
pub(super) mod handle_table;
