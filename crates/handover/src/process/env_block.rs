//! Builds a Windows child's environment block from the parent's block and the changes to it.
//!
//! All text is UTF-16. Windows defines the order of names, so the caller supplies the comparison ([Changing environment
//! variables](https://learn.microsoft.com/windows/win32/procthread/changing-environment-variables)).

use std::cmp::Ordering;

/// Compares two names, ignoring case by the system's tables.
pub(crate) type Compare = fn(&[u16], &[u16]) -> Ordering;

const EQUALS: u16 = b'=' as u16;

/// Environment variables in the system's order, each name once.
#[derive(Debug)]
pub(crate) struct Variables {
    compare: Compare,
    /// All names and values, concatenated. A process has about a hundred variables, and one allocation for each name
    /// and value would be the most expensive part of a spawn.
    text: Vec<u16>,
    sorted: Vec<Variable>,
}

/// The position of a variable in `text`: its start, and the lengths of the name and of the value that follows it.
#[derive(Debug, Clone, Copy)]
struct Variable {
    start: usize,
    name: usize,
    value: usize,
}

impl Variables {
    pub(crate) fn new(compare: Compare) -> Self {
        Self { compare, text: Vec::new(), sorted: Vec::new() }
    }

    /// Parses an environment block. Of several variables with one name, the first counts, because it is the one that
    /// `GetEnvironmentVariableW` finds.
    pub(crate) fn of_block(block: &[u16], compare: Compare) -> Self {
        let mut variables =
            Self { compare, text: Vec::with_capacity(block.len()), sorted: Vec::with_capacity(128) };
        for variable in block.split(|unit| *unit == 0).take_while(|variable| !variable.is_empty()) {
            // The first unit belongs to the name even if it is `=`: the hidden variables for each drive's current
            // directory have names such as `=C:`.
            if let Some(at) = variable[1..].iter().position(|unit| *unit == EQUALS) {
                let name = &variable[..=at];
                if let Err(place) = variables.place(name) {
                    variables.insert(place, name, &variable[at + 2..]);
                }
            }
        }
        variables
    }

    /// Sets a variable. If there is one whose name differs only in case, its value is replaced, and its name keeps its
    /// spelling, as in std.
    pub(crate) fn set(&mut self, name: &[u16], value: &[u16]) {
        match self.place(name) {
            Ok(at) => {
                let start = self.text.len();
                let Variable { start: old, name, .. } = self.sorted[at];
                self.text.extend_from_within(old..old + name);
                self.text.extend_from_slice(value);
                self.sorted[at] = Variable { start, name, value: value.len() };
            }
            Err(at) => self.insert(at, name, value),
        }
    }

    fn insert(&mut self, at: usize, name: &[u16], value: &[u16]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.sorted.insert(at, Variable { start, name: name.len(), value: value.len() });
    }

    pub(crate) fn remove(&mut self, name: &[u16]) {
        if let Ok(at) = self.find(name) {
            self.sorted.remove(at);
        }
    }

    fn name(&self, variable: &Variable) -> &[u16] {
        &self.text[variable.start..][..variable.name]
    }

    /// Returns the position of the variable, or the one where it belongs.
    fn place(&self, name: &[u16]) -> Result<usize, usize> {
        // The system's own block is already sorted, so one comparison for each of its variables is enough.
        let is_last = self.sorted.last().is_none_or(|last| (self.compare)(self.name(last), name).is_lt());
        if is_last { Err(self.sorted.len()) } else { self.find(name) }
    }

    fn find(&self, name: &[u16]) -> Result<usize, usize> {
        self.sorted.binary_search_by(|other| (self.compare)(self.name(other), name))
    }

    /// Returns the block for `CreateProcessW`. Each variable ends with a NUL, and the block ends with one more. An
    /// empty block still has two NULs.
    pub(crate) fn block(&self) -> Vec<u16> {
        let mut block = Vec::with_capacity(self.text.len() + 2 * self.sorted.len() + 2);
        for variable in &self.sorted {
            block.extend_from_slice(self.name(variable));
            block.push(EQUALS);
            block.extend_from_slice(&self.text[variable.start + variable.name..][..variable.value]);
            block.push(0);
        }
        if block.is_empty() {
            block.push(0);
        }
        block.push(0);
        block
    }
}

/// Returns the reason why a variable can't be in a block, or `None` if it can.
///
/// A name may start with `=`, as those of the hidden variables for each drive's current directory do.
pub(crate) fn objection(name: &[u16], value: &[u16]) -> Option<&'static str> {
    match name {
        [] => Some("has no name"),
        [_, rest @ ..] if rest.contains(&EQUALS) => Some("has a name that contains ="),
        _ if name.contains(&0) => Some("has a name that contains a NUL"),
        _ if value.contains(&0) => Some("has a value that contains a NUL"),
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
            variables.set(&wide(name), &wide(value));
        }
        variables
    }

    fn block(pairs: &[(&str, &str)]) -> String {
        String::from_utf16_lossy(&variables(pairs).block())
    }

    #[test]
    fn block_is_sorted_and_ends_with_two_nuls() {
        assert_eq!(
            block(&[("b", "2"), ("A", "1"), ("=C:", r"C:\x"), ("c", "")]),
            "=C:=C:\\x\0A=1\0b=2\0c=\0\0"
        );
        assert_eq!(block(&[]), "\0\0");
    }

    #[test]
    fn parsing_a_block_and_writing_it_returns_the_same_block() {
        for text in ["=C:=C:\\x\0A=1\0b=2\0c=\0\0", "A=b=c\0\0", "\0\0"] {
            let block = wide(text);
            assert_eq!(Variables::of_block(&block, ascii).block(), block, "{text:?}");
        }
        // A program can pass a block that Windows would never build: unsorted, with a duplicate and without a value.
        let block = wide("b=1\0A=2\0B=3\0lone\0\0");
        assert_eq!(String::from_utf16_lossy(&Variables::of_block(&block, ascii).block()), "A=2\0b=1\0\0");
    }

    #[test]
    fn names_ignore_case() {
        let mut variables = variables(&[("Path", "old"), ("PATH", "new"), ("TEMP", "t")]);
        variables.remove(&wide("temp"));
        assert_eq!(String::from_utf16_lossy(&variables.block()), "Path=new\0\0");
    }

    #[test]
    fn objection_rejects_what_a_block_cannot_hold() {
        let objection = |name, value| objection(&wide(name), &wide(value));
        assert_eq!(objection("A", "b=c"), None);
        assert_eq!(objection("=C:", r"C:\x"), None);
        assert_eq!(objection("", "x"), Some("has no name"));
        assert_eq!(objection("A=B", "x"), Some("has a name that contains ="));
        assert_eq!(objection("A\0", "x"), Some("has a name that contains a NUL"));
        assert_eq!(objection("A", "x\0y"), Some("has a value that contains a NUL"));
    }
}
