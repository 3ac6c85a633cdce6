//! The iterators that the getters of a `Command` return.

use std::ffi::OsStr;
use std::fmt;
use std::{slice, vec};

use super::command::{Argument, Change};
use crate::sys::text::compare_variables;

/// Iterates over the arguments of a command, as [`Command::get_args`](crate::Command::get_args) returns them.
///
/// It is this crate's [`std::process::CommandArgs`].
#[derive(Clone)]
pub struct CommandArgs<'a>(slice::Iter<'a, Argument>);

impl<'a> CommandArgs<'a> {
    pub(crate) fn new(arguments: &'a [Argument]) -> Self {
        Self(arguments.iter())
    }
}

impl<'a> Iterator for CommandArgs<'a> {
    type Item = &'a OsStr;

    fn next(&mut self) -> Option<&'a OsStr> {
        self.0.next().map(Argument::as_os_str)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for CommandArgs<'_> {}

impl fmt::Debug for CommandArgs<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_list().entries(self.clone()).finish()
    }
}

/// Iterates over the changes to a child's environment, as [`Command::get_envs`](crate::Command::get_envs) returns them:
/// sorted by name, each name once.
///
/// It is this crate's [`std::process::CommandEnvs`].
#[derive(Clone)]
pub struct CommandEnvs<'a>(vec::IntoIter<Variable<'a>>);

/// A variable's name, and its value, or `None` if the variable is removed.
type Variable<'a> = (&'a OsStr, Option<&'a OsStr>);

impl<'a> CommandEnvs<'a> {
    pub(crate) fn new(changes: &'a [Change]) -> Self {
        let cleared = changes.iter().rposition(|change| matches!(change, Change::Clear));
        let last_changes = changes.get(cleared.unwrap_or(0)..).unwrap_or_default();
        // The last change to a variable comes first, and is the one that counts.
        let mut variables: Vec<Variable<'a>> = Vec::new();
        for variable in last_changes.iter().rev().filter_map(Change::parts) {
            if let Err(index) = variables.binary_search_by(|(name, _)| compare_variables(name, variable.0)) {
                variables.insert(index, variable);
            }
        }
        // Where all variables were removed before, none is left to be removed.
        variables.retain(|(_, value)| value.is_some() || cleared.is_none());
        Self(variables.into_iter())
    }
}

impl<'a> Iterator for CommandEnvs<'a> {
    type Item = (&'a OsStr, Option<&'a OsStr>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for CommandEnvs<'_> {}

impl fmt::Debug for CommandEnvs<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_map().entries(self.clone()).finish()
    }
}
