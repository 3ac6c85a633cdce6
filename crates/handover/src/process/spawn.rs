//! Starting a child: what is the same on all systems.

use super::{Child, Command, imp, placeholder};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::{VARIABLE, is_reserved};
use crate::sys::text::is_same_variable;

/// What the streams are that the builder doesn't say anything about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Default {
    Inherit,
    /// As `output` has it: nothing to read, and what is written is collected.
    Collect,
}

/// Starts a child that runs.
pub(super) fn spawn(command: &Command<'_>, default: Default) -> Result<Child> {
    check_names(command)?;
    imp::spawn(command, default)
}

/// Each name once, and none that a template couldn't say.
pub(crate) fn check_names(command: &Command<'_>) -> Result<()> {
    let mut names: Vec<&str> = command.inherit.iter().map(|listed| listed.name.as_str()).collect();
    names.sort_unstable();
    for name in &names {
        if name.is_empty() || name.contains(['\0', '{', '}']) {
            return Err(Error::invalid(
                format!("the name {name:?} of an object to inherit"),
                "is invalid; expected a name that isn't empty, without NUL and braces",
            ));
        }
    }
    if let Some(name) = names.iter().find(|name| is_reserved(name)) {
        return Err(Error::invalid(
            format!("the name {name:?} of an object to inherit"),
            "is reserved; names that begin with \"handover/\" are this crate's own",
        ));
    }
    if command.environment_handles.iter().any(|(name, _)| is_same_variable(name, VARIABLE.as_ref())) {
        return Err(Error::invalid(format!("the variable {VARIABLE:?}"), "is reserved for this crate"));
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::invalid(
            format!("the name {:?} of an object to inherit", pair[0]),
            "is listed twice; the child couldn't tell the two apart",
        )),
        None => Ok(()),
    }
}

/// A template with the numbers of what is handed down.
pub(crate) fn filled(template: &str, inherited_handles: &[(String, HandleValue)]) -> Result<String> {
    placeholder::fill(template, |name| {
        inherited_handles
            .iter()
            .find(|(other, _)| other == name && !is_reserved(name))
            .map(|(_, value)| *value)
    })
}
