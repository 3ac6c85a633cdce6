//! Structure out of the bytes that come.

use handover::HandleValue;

/// What is left of the bytes. Whatever is asked for beyond their end is zero or empty.
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

    /// As many bytes as the first one says.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// Units of UTF-16, also such as are no text: a byte for one of ASCII, two for any.
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

/// A value that any system's table can have.
pub(crate) fn value(index: usize) -> HandleValue {
    HandleValue::try_from(4 + 4 * index).expect("a small multiple of four")
}

/// Whether anything comes twice.
pub(crate) fn repeats<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !items.into_iter().all(|item| seen.insert(item))
}
