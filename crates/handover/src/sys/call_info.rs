//! The description of a system call: its arguments, its result and its effects on handle tables.

use std::fmt;
use std::io;
use std::path::Path;

use super::io::{BorrowedHandle, Owned};
use super::value::number_of;
use crate::handle::HandleValue;

/// The arguments of a call, each with a label that says what it is for. The label may be empty.
pub(crate) type Arguments<'a> = [(&'static str, Argument<'a>)];

/// One argument of a call. Creating one is free; it is formatted only if a subscriber wants the event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    Handle(BorrowedHandle<'a>),
    Handles(&'a [BorrowedHandle<'a>]),
    Value(HandleValue),
    Values(&'a [HandleValue]),
    /// Handles by their numbers, for code that has no borrowed handles.
    Raws(&'a [u64]),
    /// A number that is passed as a handle, whether or not it is one.
    Raw(u64),
    /// The process that a handle refers to. It is shown by its id.
    Process(BorrowedHandle<'a>),
    ProcessId(u32),
    /// A handle in another process's table: its value, and the process.
    InProcess(HandleValue, BorrowedHandle<'a>),
    Number(u64),
    Signed(i64),
    Flags(u32),
    Text(&'a str),
    /// Texts, each shown in quotes.
    Texts(&'a [std::ffi::CString]),
    /// UTF-16, with or without a terminating NUL.
    Wide(&'a [u16]),
    Path(&'a Path),
    Bytes(&'a [u8]),
    /// Bytes in several buffers.
    #[cfg_attr(windows, allow(dead_code, reason = "only Linux sends from several buffers"))]
    Parts(&'a [io::IoSlice<'a>]),
    /// A timeout; `None` waits without limit.
    Milliseconds(Option<u32>),
    /// A flag that the label names.
    Yes,
}

impl<'a> From<BorrowedHandle<'a>> for Argument<'a> {
    fn from(handle: BorrowedHandle<'a>) -> Self {
        Self::Handle(handle)
    }
}

impl<'a> From<&'a Owned> for Argument<'a> {
    fn from(owned: &'a Owned) -> Self {
        Self::Handle(owned.borrowed())
    }
}

macro_rules! from {
    ($($type:ty: $variant:ident),*) => {$(
        impl<'a> From<$type> for Argument<'a> {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
from!(HandleValue: Value, u32: Number, u64: Number, i32: Signed, i64: Signed, &'a str: Text, &'a [u16]: Wide, &'a Path: Path);

impl From<usize> for Argument<'_> {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

/// The process whose table holds a handle.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table<'a> {
    Own,
    Of(BorrowedHandle<'a>),
    OfId(u32),
}

/// A handle in the table of any process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a> {
    value: u64,
    table: Table<'a>,
}

impl<'a> Slot<'a> {
    pub(crate) fn new(value: u64, table: Table<'a>) -> Self {
        Self { value, table }
    }

    /// Returns the slot of a handle of this process.
    pub(crate) fn own(handle: BorrowedHandle<'_>) -> Self {
        Self::new(number_of(handle), Table::Own)
    }
}

/// Writes the effects of a call on handle tables in the form that events have.
pub(crate) struct Effects<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    is_first: bool,
}

impl<'a, 'f> Effects<'a, 'f> {
    pub(crate) fn new(to: &'a mut fmt::Formatter<'f>) -> Self {
        Self { to, is_first: true }
    }

    /// Writes that a handle was opened. `copy_of` is another handle for the same object, if one is known.
    pub(crate) fn opened(&mut self, slot: Slot<'_>, copy_of: Option<Slot<'_>>) -> fmt::Result {
        self.begin('+')?;
        self.write(slot)?;
        copy_of.map_or(Ok(()), |source| {
            self.to.write_str("=")?;
            self.write(source)
        })
    }

    /// Writes that a handle was closed.
    pub(crate) fn closed(&mut self, slot: Slot<'_>) -> fmt::Result {
        self.begin('-')?;
        self.write(slot)
    }

    fn begin(&mut self, sign: char) -> fmt::Result {
        let gap = if std::mem::replace(&mut self.is_first, false) { "" } else { " " };
        write!(self.to, "{gap}{sign}")
    }

    fn write(&mut self, Slot { value, table }: Slot<'_>) -> fmt::Result {
        write!(self.to, "{value:#x}")?;
        let process = match table {
            Table::Own => return Ok(()),
            Table::OfId(id) => Some(id),
            Table::Of(process) => super::process::id_of(process),
        };
        match process {
            Some(id) if id == std::process::id() => Ok(()),
            Some(id) => write!(self.to, "@{id}"),
            None => self.to.write_str("@?"),
        }
    }
}

/// The result of a successful call, for events.
///
/// All methods are `#[inline]`: the compiler generates them where they are called, so a build without the feature `tracing`
/// has none of them.
pub(crate) trait Outcome {
    /// Writes the result as it is shown in the event.
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("ok")
    }

    /// Writes the effects of the call on handle tables.
    #[inline]
    fn effects(&self, _to: &mut Effects<'_, '_>) -> fmt::Result {
        Ok(())
    }
}

impl Outcome for () {}

impl Outcome for bool {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(if *self { "yes" } else { "no" })
    }
}

macro_rules! outcome_by_display {
    ($($type:ty),*) => {$(
        impl Outcome for $type {
            #[inline]
            fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, to)
            }
        }
    )*};
}
outcome_by_display!(u32, i32, u64, usize, String);

impl Outcome for Owned {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:#x}", number_of(self.borrowed()))
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        to.opened(Slot::own(self.borrowed()), None)
    }
}

/// `None` means that nothing is available now.
impl<T: Outcome> Outcome for Option<T> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(some) => some.result(to),
            None => to.write_str("nothing"),
        }
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        self.as_ref().map_or(Ok(()), |some| some.effects(to))
    }
}

/// A new handle for an object for which another handle, the source, exists.
#[derive(Debug)]
pub(crate) struct Duplicated<'a, T> {
    pub(crate) copy: T,
    pub(crate) source: Slot<'a>,
}

impl<T: Outcome + AsSlot> Outcome for Duplicated<'_, T> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.copy.result(to)
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        to.opened(self.copy.slot(), Some(self.source))
    }
}

/// A type that identifies a handle in some process's table.
pub(crate) trait AsSlot {
    fn slot(&self) -> Slot<'_>;
}

impl AsSlot for Owned {
    fn slot(&self) -> Slot<'_> {
        Slot::own(self.borrowed())
    }
}

/// The result of closing a handle of this process.
pub(crate) struct Closed(pub(crate) u64);

impl Outcome for Closed {
    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        to.closed(Slot::new(self.0, Table::Own))
    }
}

/// The bytes that a call has transferred.
pub(crate) struct Moved<'a>(pub(crate) &'a [u8]);

impl Outcome for Moved<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytes(self.0, to)
    }
}

/// A result of which the event shows no details.
pub(crate) struct Answered<T>(pub(crate) T);

impl<T> Outcome for Answered<T> {}

/// The number of bytes that a call has transferred, where the bytes themselves aren't at hand.
pub(crate) struct Length(pub(crate) usize);

impl Outcome for Length {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} bytes", self.0)
    }
}

/// Writes the number of bytes, and the bytes themselves if they are few and printable.
#[inline]
fn bytes(bytes: &[u8], to: &mut fmt::Formatter<'_>) -> fmt::Result {
    const FEW: usize = 40;
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t');
    write!(to, "{} bytes", bytes.len())?;
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.len() < FEW && bytes.iter().all(is_text) => {
            write!(to, " {text:?}")
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Argument<'_> {
    #[inline]
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Handle(handle) => write!(to, "{:#x}", number_of(handle)),
            Self::Handles(handles) => all(to, handles.iter().map(|handle| number_of(*handle))),
            Self::Value(value) => write!(to, "{value:#x}"),
            Self::Raws(numbers) => all(to, numbers.iter().copied()),
            Self::Values(values) => all(to, values.iter().map(|value| value.get().into())),
            Self::Raw(number) => write!(to, "{number:#x}"),
            Self::Process(process) => match super::process::id_of(process) {
                Some(id) => write!(to, "process {id}"),
                None => write!(to, "process (handle {:#x})", number_of(process)),
            },
            Self::ProcessId(id) => write!(to, "process {id}"),
            Self::InProcess(value, process) => write!(to, "{value:#x} of {}", Self::Process(process)),
            Self::Number(number) => write!(to, "{number}"),
            Self::Signed(number) => write!(to, "{number}"),
            Self::Flags(flags) => write!(to, "{flags:#010x}"),
            Self::Text(text) => write!(to, "{text:?}"),
            Self::Texts(texts) => {
                let quoted = |text: &std::ffi::CString| format!("{:?}", text.to_string_lossy());
                to.write_str(&texts.iter().map(quoted).collect::<Vec<_>>().join(" "))
            }
            Self::Wide(units) => {
                let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
                write!(to, "{:?}", String::from_utf16_lossy(&units[..end]))
            }
            Self::Path(path) => write!(to, "{path:?}"),
            Self::Bytes(some) => bytes(some, to),
            Self::Parts([some]) => bytes(some, to),
            Self::Parts(parts) => write!(to, "{} bytes", parts.iter().map(|part| part.len()).sum::<usize>()),
            Self::Milliseconds(Some(time)) => write!(to, "{time} ms"),
            Self::Milliseconds(None) => to.write_str("ever"),
            Self::Yes => Ok(()),
        }
    }
}

fn all(to: &mut fmt::Formatter<'_>, numbers: impl Iterator<Item = u64>) -> fmt::Result {
    for (index, number) in numbers.enumerate() {
        write!(to, "{}{number:#x}", if index == 0 { "" } else { " " })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_printable_bytes_are_shown_as_text() {
        let shown = |some: &[u8]| Argument::Bytes(some).to_string();
        assert_eq!(shown(b""), "0 bytes");
        assert_eq!(shown(b"272\n"), r#"4 bytes "272\n""#);
        assert_eq!(shown(b"\x00ab"), "3 bytes");
        assert_eq!(shown("ä".as_bytes()), "2 bytes");
        assert_eq!(shown(&[b'a'; 39]).len(), r#"39 bytes """#.len() + 39);
        assert_eq!(shown(&[b'a'; 40]), "40 bytes");
    }

    #[test]
    fn arguments_are_shown_in_their_usual_notation() {
        assert_eq!(Argument::Flags(0x0010_0000).to_string(), "0x00100000");
        assert_eq!(Argument::Wide(&[97, 98, 0, 99]).to_string(), r#""ab""#);
        assert_eq!(Argument::Milliseconds(None).to_string(), "ever");
        let values = [8_u64, 0x30].map(|number| HandleValue::try_from(number).expect("a value"));
        assert_eq!(Argument::Values(&values).to_string(), "0x8 0x30");
    }

    struct Shown<'a>(&'a dyn Outcome);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.effects(&mut Effects::new(to))
        }
    }

    struct Several;

    impl Outcome for Several {
        fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
            let own = |value| Slot::new(value, Table::Own);
            to.opened(Slot::new(0xc, Table::OfId(u32::MAX)), Some(own(0x30)))?;
            to.opened(own(0x44), Some(Slot::new(0xc, Table::OfId(u32::MAX))))?;
            // A slot that names this process by its id is written like one of its own.
            to.opened(Slot::new(0x48, Table::OfId(std::process::id())), None)?;
            to.closed(own(0x30))
        }
    }

    #[test]
    fn effects_follow_their_grammar() {
        let process = u32::MAX;
        assert_eq!(
            Shown(&Several).to_string(),
            format!("+0xc@{process}=0x30 +0x44=0xc@{process} +0x48 -0x30")
        );
        assert_eq!(Shown(&Closed(0x30)).to_string(), "-0x30");
        assert_eq!(Shown(&()).to_string(), "");
    }
}
