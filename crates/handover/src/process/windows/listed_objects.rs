//! The objects that a child finds in its manifest.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::{Place, place_of, value_of};
use crate::process::filled;

/// The names of the objects for one child, and where the child finds each.
#[derive(Debug, Default)]
pub(super) struct ListedObjects {
    places: Vec<(Arc<str>, Place)>,
    sockets: u16,
}

impl ListedObjects {
    pub(super) fn push_handle(&mut self, name: Arc<str>, value: HandleValue) {
        self.places.push((name, place_of(value)));
    }

    /// Adds the socket of the next record.
    pub(super) fn push_socket(&mut self, name: Arc<str>) -> Result<()> {
        self.places.push((name, Place::Socket(self.sockets)));
        self.sockets = self.sockets.checked_add(1).ok_or_else(|| {
            Error::invalid("the list of objects to inherit", "has more than 65,534 sockets; list fewer")
        })?;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn places(&self) -> &[(Arc<str>, Place)] {
        &self.places
    }

    /// Returns the handles that the child inherits, without the sockets.
    pub(super) fn into_handles(self) -> Vec<(Arc<str>, HandleValue)> {
        let handle = |(name, place)| Some((name, value_of(place)?));
        self.places.into_iter().filter_map(handle).collect()
    }

    /// Replaces each `{name}` in a template by the value of the inherited handle with that name.
    pub(super) fn fill(&self, template: &str) -> Result<String> {
        let handles = Self { places: self.places.clone(), ..Self::default() }.into_handles();
        let is_socket = |name: &str| {
            let mut places = self.places.iter();
            places.any(|(other, place)| **other == *name && matches!(place, Place::Socket(_)))
        };
        filled(template, &handles, &|name| is_socket(name).then_some(IS_SOCKET))
    }
}

const IS_SOCKET: &str = "which is a socket: its handle exists only once the child has taken it, so let the child take it \
     by its name from handover::inherited";
