//! The parts of starting a child that are the same on both systems.

use std::process::ExitStatus;
use std::sync::Arc;

use super::command::Command;
use super::placeholder::{self, NOT_LISTED};
use super::{Child, imp};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::{VARIABLE, is_reserved};
use crate::sys::text::is_same_variable;

/// How to set up the streams that the builder leaves unset.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Default {
    Inherit,
    /// As `Command::output` needs them: standard input is empty, standard output and standard error are piped.
    Collect,
}

/// Starts a child that runs at once.
pub(super) fn spawn(command: &Command<'_>, default: Default) -> Result<Child> {
    check_names(command)?;
    imp::spawn(command, default)
}

/// Starts a child and waits until it exits, without a timeout.
pub(super) fn run_to_exit(command: &Command<'_>) -> Result<ExitStatus> {
    check_names(command)?;
    imp::run_to_exit(command)
}

/// Checks that each name is unique, is not reserved, and can be written in a template.
pub(crate) fn check_names(command: &Command<'_>) -> Result<()> {
    let listed = command.inherit.iter().map(|listed| &*listed.name);
    let attached = command.attachments.iter().filter_map(|attachment| attachment.name());
    let mut names: Vec<&str> = listed.chain(attached).collect();
    // Names that end in ascending numbers are in this order already.
    names.sort_unstable_by_key(|name| (name.len(), *name));
    names.iter().try_for_each(|name| check_name(name))?;
    if command.environment_handles.iter().any(|(name, _)| is_same_variable(name, VARIABLE.as_ref())) {
        return Err(Error::invalid(
            format!("the variable {VARIABLE:?}"),
            "is reserved for handover; choose another name",
        ));
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(listed_twice(pair[0])),
        None => Ok(()),
    }
}

/// Checks that an object can be listed under the name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let reason = match name {
        "" => "is empty; expected at least 1 character",
        name if name.contains(['\0', '{', '}']) => "contains a NUL or a brace; choose a name without them",
        name if is_reserved(name) => {
            "is reserved for handover; choose a name that doesn't begin with \"handover/\""
        }
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("the name {name:?} of an object to inherit"), reason))
}

/// Returns the error for a name that is listed for two objects.
pub(crate) fn listed_twice(name: &str) -> Error {
    Error::invalid("two objects to inherit", format!("have the name {name:?}; give each object its own name"))
}

/// Replaces each `{name}` in a template by the value of the inherited handle with that name. `reason` says why a listed name
/// has no handle value.
pub(crate) fn filled(
    template: &str,
    inherited_handles: &[(Arc<str>, HandleValue)],
    reason: &dyn Fn(&str) -> Option<&'static str>,
) -> Result<String> {
    placeholder::fill(template, &|name| {
        let handle = inherited_handles.iter().find(|(other, _)| **other == *name && !is_reserved(name));
        handle.map(|(_, value)| *value).ok_or_else(|| reason(name).unwrap_or(NOT_LISTED))
    })
}
