//! The kinds of objects that an endpoint accepts.

use std::sync::{PoisonError, RwLock};

use crate::handle::ObjectKind;
use crate::sys::handle::can_be;

/// A list of accepted kinds, which can be changed while it is used.
#[derive(Debug)]
pub(crate) struct KindFilter(RwLock<Accepted>);

#[derive(Debug, Clone)]
struct Accepted {
    kinds: Vec<ObjectKind>,
    /// Whether the program itself names sockets now, and whether it ever has.
    names_sockets: bool,
    has_named_sockets: bool,
}

impl Default for KindFilter {
    /// Accepts every kind that gives no power over a process.
    fn default() -> Self {
        let accepted = ObjectKind::ALL.iter().filter(|kind| kind.is_accepted_by_default());
        Self(RwLock::new(Accepted {
            kinds: accepted.cloned().collect(),
            names_sockets: false,
            has_named_sockets: false,
        }))
    }
}

impl KindFilter {
    pub(super) fn add(&self, kind: ObjectKind) {
        // The list guards no invariant, so poisoning is ignored.
        let mut accepted = self.0.write().unwrap_or_else(PoisonError::into_inner);
        accepted.names_sockets |= kind == ObjectKind::Socket;
        accepted.has_named_sockets |= accepted.names_sockets;
        if !accepted.kinds.contains(&kind) {
            accepted.kinds.push(kind);
        }
    }

    pub(super) fn replace(&self, kinds: Vec<ObjectKind>) {
        let names_sockets = kinds.contains(&ObjectKind::Socket);
        let mut accepted = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let has_named_sockets = accepted.has_named_sockets || names_sockets;
        *accepted = Accepted { kinds, names_sockets, has_named_sockets };
    }

    /// Accepts the kinds that another list accepts now.
    pub(super) fn copy_from(&self, other: &Self) {
        let accepted = other.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = accepted;
    }

    /// Returns whether an object that the kernel reports as this kind is accepted.
    pub(crate) fn has(&self, found: &ObjectKind) -> bool {
        let accepted = self.0.read().unwrap_or_else(PoisonError::into_inner);
        accepted.kinds.iter().any(|kind| can_be(found, kind))
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
