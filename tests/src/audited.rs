//! Starts this program in a role with std's `Command`, and audits it.

use std::process::Command;
use std::time::Duration;

use handover::inspect::{Audit, AuditReport};

use crate::{role, this_program};

/// A timeout longer than any audit takes.
const LONG: Duration = Duration::from_secs(60);

/// Returns a std `Command` that starts this program in a role.
#[must_use]
pub fn in_role_of_std(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    command
}

/// Audits this program in a role.
///
/// # Panics
///
/// Panics if the audit fails, the program fails, or a process could not be examined completely.
pub fn audit(name: &str, arguments: &[&str]) -> AuditReport {
    let audit = Audit::new(in_role_of_std(name, arguments)).run(LONG).expect("the audit succeeds");
    assert!(audit.status.success(), "{audit}");
    assert!(audit.processes.iter().all(|started| started.incomplete.is_none()), "{audit}");
    audit
}
