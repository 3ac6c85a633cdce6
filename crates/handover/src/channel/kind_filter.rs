//! The kinds of objects that an endpoint accepts.

use std::sync::{PoisonError, RwLock};

use crate::handle::ObjectKind;
use crate::sys::handle::can_be;

/// A list of accepted kinds, which can be changed while it is used.
#[derive(Debug)]
pub(crate) struct KindFilter(RwLock<Accepted>);

#[derive(Debug, Clone)]
struct Accepted {
    /// `None`: every kind that gives no power over a process. Most channels accept these, and then need no list.
    kinds: Option<Vec<ObjectKind>>,
    /// Whether the program itself names sockets now, and whether it ever has.
    names_sockets: bool,
    has_named_sockets: bool,
}

impl Default for KindFilter {
    /// Accepts every kind that gives no power over a process.
    fn default() -> Self {
        Self(RwLock::new(Accepted { kinds: None, names_sockets: false, has_named_sockets: false }))
    }
}

fn accepted_by_default() -> impl Iterator<Item = &'static ObjectKind> {
    ObjectKind::ALL.iter().filter(|kind| kind.is_accepted_by_default())
}

impl KindFilter {
    pub(super) fn add(&self, kind: ObjectKind) {
        // The list guards no invariant, so poisoning is ignored.
        let mut accepted = self.0.write().unwrap_or_else(PoisonError::into_inner);
        accepted.names_sockets |= kind == ObjectKind::Socket;
        accepted.has_named_sockets |= accepted.names_sockets;
        let kinds = accepted.kinds.get_or_insert_with(|| accepted_by_default().cloned().collect());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }

    pub(super) fn replace(&self, kinds: Vec<ObjectKind>) {
        let names_sockets = kinds.contains(&ObjectKind::Socket);
        let mut accepted = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let has_named_sockets = accepted.has_named_sockets || names_sockets;
        *accepted = Accepted { kinds: Some(kinds), names_sockets, has_named_sockets };
    }

    /// Accepts the kinds that another list accepts now.
    pub(super) fn copy_from(&self, other: &Self) {
        let accepted = other.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accepted;
    }

    /// Returns whether an object that the kernel reports as this kind is accepted.
    pub(crate) fn has(&self, found: &ObjectKind) -> bool {
        let accepted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &accepted.kinds {
            Some(kinds) => kinds.iter().any(|kind| can_be(found, kind)),
            None => accepted_by_default().any(|kind| can_be(found, kind)),
        }
    }

    /// Returns whether the program itself has named sockets, so that they are accepted from a weaker process too.
    #[allow(dead_code, reason = "on Linux the kernel passes a socket as safely as other objects")]
    pub(crate) fn names_sockets(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).names_sockets
    }

    /// Returns whether the program has ever named sockets, so that some may be on their way that only this process can close.
    #[allow(dead_code, reason = "on Linux the kernel closes a socket that doesn't arrive")]
    pub(crate) fn has_named_sockets(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).has_named_sockets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_kind_is_accepted_beside_the_default_ones() {
        let accepted = |filter: &KindFilter| {
            ObjectKind::ALL.iter().filter(|kind| filter.has(kind)).cloned().collect::<Vec<_>>()
        };
        let filter = KindFilter::default();
        let by_default = accepted(&filter);
        assert!(by_default.contains(&ObjectKind::Event) && !by_default.contains(&ObjectKind::Process));
        filter.add(ObjectKind::Process);
        assert!(filter.has(&ObjectKind::Process));
        assert!(by_default.iter().all(|kind| filter.has(kind)));
        filter.replace(vec![ObjectKind::Process]);
        assert!(filter.has(&ObjectKind::Process) && !filter.has(&ObjectKind::Event));
        let copy = KindFilter::default();
        copy.copy_from(&filter);
        assert_eq!(accepted(&copy), accepted(&filter));
    }
}
