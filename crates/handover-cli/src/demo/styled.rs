//! Lines of styled text for a terminal.

use anstyle::{AnsiColor, Style};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
/// The style of a change to a tracked handle.
pub(crate) const CHANGE: Style = AnsiColor::Green.on_default();
/// The style of a handle value that one process passes to the other.
pub(crate) const PASSED: Style = AnsiColor::Magenta.on_default();
/// The style of a failure.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();

/// A line as pieces of text, each with its style.
pub(crate) type Line = Vec<(Style, String)>;

/// Formats a line with escape codes, or without any if not `styled`.
pub(crate) fn render(line: &Line, styled: bool) -> String {
    let text: String = line.iter().map(|(_, text)| text.as_str()).collect();
    if !styled {
        return text.trim_end().to_owned();
    }
    let styled = |(style, text): &(Style, String)| match *style {
        PLAIN => text.clone(),
        style => format!("{style}{text}{style:#}"),
    };
    line.iter().map(styled).collect()
}
