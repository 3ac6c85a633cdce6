//! Derives structured values from the fuzzer's bytes.

use handover::HandleValue;

/// The remaining bytes. Values beyond their end are zero or empty.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        bytes.fill_with(|| self.byte());
        u64::from_le_bytes(bytes)
    }

    /// Returns as many bytes as the next byte says, or fewer at the end.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// Returns UTF-16 units, which may be invalid text. One byte gives an ASCII unit, and two bytes give any other
    /// unit.
    pub(crate) fn units(&mut self) -> Vec<u16> {
        let mut bytes = self.bytes().iter().copied();
        let mut units = Vec::new();
        while let Some(byte) = bytes.next() {
            let high = if byte < 0x80 { 0 } else { bytes.next().unwrap_or(0) };
            units.push(u16::from_le_bytes([byte, high]));
        }
        units
    }
}

/// Returns a handle value that is valid on each system.
pub(crate) fn value(index: usize) -> HandleValue {
    HandleValue::try_from(4 + 4 * index).expect("a small multiple of four")
}

/// Returns whether any item occurs twice.
pub(crate) fn has_duplicates<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !items.into_iter().all(|item| seen.insert(item))
}
