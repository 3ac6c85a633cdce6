//! Both handle tables in a terminal, side by side at the moment at which they share, and the objects between them.

use super::events::Role;
use super::object_history::Story;
use super::text::{BOLD, CHANGE, DIM, Line, PLAIN};
use super::text_width::{self, milliseconds, plain, width, wrap};

/// How long the line from a table to an object is.
const ARROW: usize = 4;

/// No object's kind or name takes more columns.
const WIDEST: usize = 24;

/// The tables in this width; nothing if they share nothing, or if there is no room: the timeline has said it all.
pub(crate) fn tables(story: &Story<'_>, columns: usize) -> Vec<Line> {
    let Some(shared) = story.shared else { return Vec::new() };
    let named = |name: &str| width(&plain(name)).min(WIDEST);
    let objects = story.objects.iter();
    let widest = objects.map(|object| named(&object.kind).max(object.name.as_deref().map_or(0, named))).max();
    let middle = widest.unwrap_or_default() + 2 * ARROW + 2;
    let side = columns.saturating_sub(middle) / 2;
    if side < 16 {
        return Vec::new();
    }
    let edge = |ends: [&str; 2]| format!("{}{}{}", ends[0], "─".repeat(side - 2), ends[1]);
    let edges = |ends: [&str; 2]| vec![(DIM, edge(ends) + &" ".repeat(middle) + &edge(ends))];
    let at = format!("At {} ms, by the kernel's answer:", milliseconds(story.since_start(shared)));
    let [parent, child] = [Role::Parent, Role::Child].map(|role| {
        let process = story.process(role).map_or(String::new(), |process| format!(" of {process}"));
        let head = if side < 24 { "table" } else { "handle table" };
        (PLAIN, centred(&format!("{head}{process}"), side))
    });
    let heads = vec![parent, (PLAIN, centred("kernel", middle)), child];
    let mut lines = vec![Line::new(), vec![(BOLD, at)], Line::new(), heads, edges(["┌", "┐"])];
    for (index, object) in story.objects.iter().enumerate() {
        let both = [Role::Parent, Role::Child].map(|role| rows(story, index, role, side - 4));
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

/// One line of both tables, and what is between them.
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
        // The head of an arrow is at the name, whatever the name's length.
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

/// What one table has of an object, in lines of this width, and where each handle begins.
fn rows(story: &Story<'_>, object: usize, role: Role, columns: usize) -> Vec<(bool, String)> {
    let at = story.shared.unwrap_or_default();
    let object = &story.objects[object];
    let live = object.handles.iter().filter(|handle| story.is_live(**handle, at));
    let of = live.map(|handle| &story.handles[*handle]);
    let of = of.filter(|handle| story.role_of(handle.process, handle.opened) == role);
    of.flat_map(|handle| {
        let access = handle.access.as_deref().unwrap_or_default();
        let row = plain(&format!("{:#x} {} {access}", handle.value, object.kind)).into_owned();
        wrap(&row, columns, 3).into_iter().enumerate().map(|(index, line)| (index == 0, line))
    })
    .collect()
}

/// The piece of the line from the table's rows to the object, beside this row.
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

/// The same, seen from the other side.
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
