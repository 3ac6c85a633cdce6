//! Writes both handle tables for a terminal, side by side, with the shared objects between them.

use super::events::Role;
use super::object_history::History;
use super::styled::{BOLD, CHANGE, DIM, Line, PLAIN};
use super::text_width::{self, milliseconds, plain, width, wrap};

/// The length of the line from a table to an object.
const ARROW: usize = 4;
/// The maximum width of an object's kind or name.
const MAX_LABEL: usize = 24;

/// Draws the tables in this width. Returns no lines if the processes share no object, or if the width is too small; the
/// timeline has the same information.
pub(crate) fn tables(history: &History<'_>, columns: usize) -> Vec<Line> {
    let Some(shared) = history.shared else { return Vec::new() };
    let named = |name: &str| width(&plain(name)).min(MAX_LABEL);
    let objects = history.objects.iter();
    let widest = objects.map(|object| named(&object.kind).max(object.name.as_deref().map_or(0, named))).max();
    let middle = widest.unwrap_or_default() + 2 * ARROW + 2;
    let side = columns.saturating_sub(middle) / 2;
    if side < 16 {
        return Vec::new();
    }
    let edge = |ends: [&str; 2]| format!("{}{}{}", ends[0], "─".repeat(side - 2), ends[1]);
    let edges = |ends: [&str; 2]| vec![(DIM, edge(ends) + &" ".repeat(middle) + &edge(ends))];
    let at = format!("At {} ms, according to the kernel:", milliseconds(history.since_start(shared)));
    let [parent, child] = [Role::Parent, Role::Child].map(|role| {
        let process = history.process(role).map_or(String::new(), |process| format!(" of {process}"));
        let head = if side < 24 { "table" } else { "handle table" };
        (PLAIN, centred(&format!("{head}{process}"), side))
    });
    let heads = vec![parent, (PLAIN, centred("kernel", middle)), child];
    let mut lines = vec![Line::new(), vec![(BOLD, at)], Line::new(), heads, edges(["┌", "┐"])];
    for (index, object) in history.objects.iter().enumerate() {
        let both = [Role::Parent, Role::Child].map(|role| rows(history, index, role, side - 4));
        let names = [Some(object.kind.as_str()), object.name.as_deref()];
        let names: Vec<_> = names.into_iter().flatten().collect();
        for row in 0..both[0].len().max(both[1].len()).max(names.len()) {
            let name = names.get(row).copied().unwrap_or_default();
            lines.push(line(&both, row, name, (side, middle)));
        }
    }
    lines.push(edges(["└", "┘"]));
    lines
}

/// Draws one line of both tables, with the arrows and the object between them.
fn line(rows: &[Vec<(bool, String)>; 2], row: usize, name: &str, (side, middle): (usize, usize)) -> Line {
    let cell = |rows: &[(bool, String)]| {
        let text = rows.get(row).map_or("", |(_, text)| text.as_str());
        format!("{text}{}", " ".repeat((side - 4).saturating_sub(width(text))))
    };
    let room = middle - 2 * ARROW - 2;
    let name = text_width::shorten(&plain(name), room).into_owned();
    let spare = room - width(&name).min(room);
    let [left, right] = [(&rows[0], spare / 2), (&rows[1], spare - spare / 2)].map(|(rows, spare)| {
        let arrow = arrow(rows, row);
        // The shaft is extended, so that the arrow's head touches the name.
        let fill = if arrow.ends_with('▶') { "─" } else { " " };
        match arrow.strip_suffix('▶') {
            Some(shaft) => format!("{shaft}{}▶", fill.repeat(spare)),
            None => format!("{arrow}{}", fill.repeat(spare)),
        }
    });
    let right: String = right.chars().rev().map(mirrored).collect();
    let left_edge = if left.starts_with('─') { " ├" } else { " │" };
    let right_edge = if right.ends_with('─') { "┤ " } else { "│ " };
    vec![
        (DIM, "│ ".to_owned()),
        (CHANGE, cell(&rows[0])),
        (DIM, format!("{left_edge}{left} ")),
        (if row == 0 { BOLD } else { PLAIN }, name),
        (DIM, format!(" {right}{right_edge}")),
        (CHANGE, cell(&rows[1])),
        (DIM, " │".to_owned()),
    ]
}

/// Returns a table's handles to an object, in lines of this width, each with a mark whether a handle begins there.
fn rows(history: &History<'_>, object: usize, role: Role, columns: usize) -> Vec<(bool, String)> {
    let at = history.shared.unwrap_or_default();
    let object = &history.objects[object];
    let live = object.handles.iter().filter(|handle| history.is_live(**handle, at));
    let of = live.map(|handle| &history.handles[*handle]);
    let of = of.filter(|handle| history.role_of(handle.process, handle.opened) == role);
    of.flat_map(|handle| {
        let access = handle.access.as_deref().unwrap_or_default();
        let row = plain(&format!("{:#x} {} {access}", handle.value, object.kind)).into_owned();
        wrap(&row, columns, 3).into_iter().enumerate().map(|(index, line)| (index == 0, line))
    })
    .collect()
}

/// Returns the piece of the arrows from a table to an object that is drawn beside this row.
fn arrow(rows: &[(bool, String)], row: usize) -> &'static str {
    let begins = rows.get(row).is_some_and(|(begins, _)| *begins);
    let more = rows.iter().skip(row + 1).any(|(begins, _)| *begins);
    match (row, begins, more) {
        (0, true, false) => "───▶",
        (0, true, true) => "──┬▶",
        (_, true, true) => "──┤ ",
        (_, true, false) => "──┘ ",
        (_, false, true) => "  │ ",
        (_, false, false) => "    ",
    }
}

/// Returns the mirror image of a character.
fn mirrored(c: char) -> char {
    match c {
        '▶' => '◀',
        '┤' => '├',
        '┘' => '└',
        other => other,
    }
}

fn centred(text: &str, columns: usize) -> String {
    let text = text_width::shorten(text, columns);
    let room = columns.saturating_sub(width(&text));
    format!("{}{text}{}", " ".repeat(room / 2), " ".repeat(room - room / 2))
}
