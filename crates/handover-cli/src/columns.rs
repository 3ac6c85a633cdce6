//! Text in columns, for the terminal.

use std::io::IsTerminal;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Formats rows of cells under a row of titles. On a terminal the columns fit its width; in a file or a pipe they are
/// as wide as their contents.
pub(crate) fn columns(titles: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles.to_vec()).add_rows(rows);
    /// On a narrower terminal, the terminal's own line breaks are easier to read than narrow columns.
    const MIN_WIDTH: u16 = 50;
    match width().filter(|width| *width >= MIN_WIDTH) {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    for column in table.column_iter_mut() {
        column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Left);
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns the terminal's width in columns, if standard output is a terminal.
pub(crate) fn width() -> Option<u16> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

/// Formats a count with its noun: "1 handle", "2 handles".
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
