//! The environment of a child: changes to the parent's, and the block that results.
//!
//! Texts are in units of UTF-16. The order of names is the system's, so the caller brings the comparison
//! ([Changing environment variables](https://learn.microsoft.com/windows/win32/procthread/changing-environment-variables)).

use std::cmp::Ordering;

/// How names compare: blind to case, by the system's tables.
pub(super) type Compare = fn(&[u16], &[u16]) -> Ordering;

const EQUALS: u16 = b'=' as u16;

/// Variables in the system's order, each name once.
#[derive(Debug)]
pub(super) struct Variables {
    compare: Compare,
    sorted: Vec<(Vec<u16>, Vec<u16>)>,
}

impl Variables {
    pub(super) fn new(compare: Compare) -> Self {
        Self { compare, sorted: Vec::new() }
    }

    pub(super) fn set(&mut self, name: Vec<u16>, value: Vec<u16>) {
        match self.find(&name) {
            // The new spelling of the name wins, as it does in std.
            Ok(at) => self.sorted[at] = (name, value),
            Err(at) => self.sorted.insert(at, (name, value)),
        }
    }

    pub(super) fn remove(&mut self, name: &[u16]) {
        if let Ok(at) = self.find(name) {
            self.sorted.remove(at);
        }
    }

    fn find(&self, name: &[u16]) -> Result<usize, usize> {
        self.sorted.binary_search_by(|(other, _)| (self.compare)(other, name))
    }

    /// The block that `CreateProcessW` takes: each variable ends with NUL and the block with one more. An empty
    /// block still has two.
    pub(super) fn block(&self) -> Vec<u16> {
        let mut block = Vec::new();
        for (name, value) in &self.sorted {
            block.extend_from_slice(name);
            block.push(EQUALS);
            block.extend_from_slice(value);
            block.push(0);
        }
        if block.is_empty() {
            block.push(0);
        }
        block.push(0);
        block
    }
}

/// Why a variable can't be in a block, if it can't.
///
/// A name may start with `=`, as the hidden variables do that keep each drive's current directory.
pub(super) fn objection(name: &[u16], value: &[u16]) -> Option<&'static str> {
    match name {
        [] => Some("has no name"),
        [_, rest @ ..] if rest.contains(&EQUALS) => Some("has a name with = in it"),
        _ if name.contains(&0) => Some("has a name with NUL in it"),
        _ if value.contains(&0) => Some("has a value with NUL in it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn ascii(left: &[u16], right: &[u16]) -> Ordering {
        let upper = |text: &[u16]| String::from_utf16_lossy(text).to_ascii_uppercase();
        upper(left).cmp(&upper(right))
    }

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        let mut variables = Variables::new(ascii);
        for (name, value) in pairs {
            variables.set(wide(name), wide(value));
        }
        variables
    }

    fn block(pairs: &[(&str, &str)]) -> String {
        String::from_utf16_lossy(&variables(pairs).block())
    }

    #[test]
    fn a_block_is_sorted_and_ends_twice() {
        assert_eq!(
            block(&[("b", "2"), ("A", "1"), ("=C:", r"C:\x"), ("c", "")]),
            "=C:=C:\\x\0A=1\0b=2\0c=\0\0"
        );
        assert_eq!(block(&[]), "\0\0");
    }

    #[test]
    fn names_are_blind_to_case() {
        let mut variables = variables(&[("Path", "old"), ("PATH", "new"), ("TEMP", "t")]);
        variables.remove(&wide("temp"));
        assert_eq!(String::from_utf16_lossy(&variables.block()), "PATH=new\0\0");
    }

    #[test]
    fn what_a_block_cannot_hold_is_objected_to() {
        let objection = |name, value| objection(&wide(name), &wide(value));
        assert_eq!(objection("A", "b=c"), None);
        assert_eq!(objection("=C:", r"C:\x"), None);
        assert_eq!(objection("", "x"), Some("has no name"));
        assert_eq!(objection("A=B", "x"), Some("has a name with = in it"));
        assert_eq!(objection("A\0", "x"), Some("has a name with NUL in it"));
        assert_eq!(objection("A", "x\0y"), Some("has a value with NUL in it"));
    }
}
