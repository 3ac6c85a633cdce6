//! This program in a role as std starts it, and audits of that.

use std::process::Command;
use std::time::Duration;

use handover::inspect::{Audit, AuditReport};

use crate::{role, this_program};

/// Longer than any audit here takes.
const LONG: Duration = Duration::from_secs(60);

/// This program in a role, as std starts it.
#[must_use]
pub fn in_role_of_std(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    command
}

/// An audit of that, which ends well and in which everything was seen.
///
/// # Panics
///
/// If it isn't so.
pub fn audit(name: &str, arguments: &[&str]) -> AuditReport {
    let audit = Audit::new(in_role_of_std(name, arguments)).run(LONG).expect("it can be audited");
    assert!(audit.status.success(), "{audit}");
    assert!(audit.processes.iter().all(|started| started.incomplete.is_none()), "{audit}");
    audit
}
