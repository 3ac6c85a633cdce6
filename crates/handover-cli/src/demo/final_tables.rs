//! Draws the kernel's answer on the picture: both handle tables, with the shared objects between them.

use super::events::Role;
use super::layout::{Layout, Row};
use super::object_history::History;
use super::svg_style::{Anchor, Canvas, Direction, LINE, mono, of};
use super::text_width::{plain, shorten_by, wrap_by};

/// The width of a table.
const TABLE: usize = 258;
/// The space around the text in a table.
const INSET: usize = 10;
/// The height of the headings, above the first object.
const HEAD: usize = 42;

/// An object, with both tables' handles to it.
#[derive(Debug)]
struct Block {
    sides: [Vec<Entry>; 2],
    kind: String,
    name: Option<String>,
    height: usize,
}

/// A handle in a table.
#[derive(Debug)]
struct Entry {
    value: String,
    kind: String,
    access: Vec<String>,
}

/// Both tables, ready to be drawn.
#[derive(Debug)]
pub(crate) struct FinalTables {
    blocks: Vec<Block>,
}

impl Entry {
    fn height(&self) -> usize {
        (1 + self.access.len()) * LINE + 6
    }
}

impl FinalTables {
    pub(crate) fn of(history: &History<'_>) -> Self {
        let at = history.shared.unwrap_or_default();
        let block = |index: usize| {
            let object = &history.objects[index];
            let entries = |role| {
                let live = object.handles.iter().filter(|handle| history.is_live(**handle, at));
                let handles = live.map(|handle| &history.handles[*handle]);
                let of = handles.filter(|handle| history.role_of(handle.process, handle.opened) == role);
                of.map(|handle| {
                    let access = plain(handle.access.as_deref().unwrap_or_default()).into_owned();
                    Entry {
                        value: format!("{:#x}", handle.value),
                        kind: shorten_by(mono, &plain(&object.kind), 90).into_owned(),
                        access: wrap_by(mono, &access, TABLE - 2 * INSET, 2),
                    }
                })
                .collect::<Vec<_>>()
            };
            let sides = [entries(Role::Parent), entries(Role::Child)];
            let tallest = sides.iter().map(|side| side.iter().map(Entry::height).sum::<usize>()).max();
            let height = tallest.unwrap_or_default().max(30) + if object.name.is_some() { 18 } else { 10 };
            let kind = plain(&object.kind).into_owned();
            Block { sides, kind, name: object.name.as_deref().map(|name| plain(name).into_owned()), height }
        };
        Self { blocks: (0..history.objects.len()).map(block).collect() }
    }

    pub(crate) fn height(&self) -> usize {
        HEAD + self.blocks.iter().map(|block| block.height).sum::<usize>() + 28
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas, layout: &Layout, history: &History<'_>, row: &Row) {
        let (left, right) = (layout.parent.calls, layout.child.calls + layout.child.wide);
        let (top, height) = (row.top + 8, row.height - 20);
        canvas.rectangle("ground frame", (left - 10, top), (right - left + 20, height), 6);
        let middle = usize::midpoint(left, right);
        canvas.text("kernel strong", Anchor::Middle, (middle, top + 22), "according to the kernel");
        let tables = [left, right - TABLE];
        for (role, x) in [Role::Parent, Role::Child].into_iter().zip(tables) {
            let process =
                history.process(role).map_or(String::new(), |process| format!(" of process {process}"));
            let head = format!("handle table{process}");
            canvas.text(&format!("{role} strong"), Anchor::Start, (x + INSET, top + 22), &head);
            let below = height.saturating_sub(HEAD + 2);
            canvas.rectangle(&of(role, "-tint"), (x, top + 32), (TABLE, below), 4);
        }
        let mut y = top + HEAD;
        for block in &self.blocks {
            block.draw(canvas, layout, y, (middle, tables));
            y += block.height;
        }
    }
}

impl Block {
    fn draw(&self, canvas: &mut Canvas, layout: &Layout, top: usize, (middle, tables): (usize, [usize; 2])) {
        let room = (tables[1] - tables[0] - TABLE).saturating_sub(90).max(layout.name_room().min(150));
        let name = self.name.as_deref().map(|name| shorten_by(mono, name, room));
        let wide = mono(&self.kind).max(name.as_deref().map_or(0, mono)).min(room) + 16;
        let tall = if name.is_some() { 40 } else { 24 };
        let centre = top + tall / 2 + 2;
        for (index, entries) in self.sides.iter().enumerate() {
            let role = [Role::Parent, Role::Child][index];
            // The first handle is on the height of the object, so its line is straight.
            let (x, mut y) = (tables[index], centre.saturating_sub(13));
            for (number, entry) in entries.iter().enumerate() {
                let line = y + 13;
                entry.draw(canvas, role, (x, y));
                let (begin, end, from) = match role {
                    Role::Parent => (x + TABLE, middle - wide / 2, Direction::Left),
                    Role::Child => (x, middle + wide / 2, Direction::Right),
                };
                let turn = match role {
                    Role::Parent => end.saturating_sub(18),
                    Role::Child => end + 18,
                };
                let points = [(begin, line), (turn, line), (turn, centre), (end, centre)];
                canvas.line(&of(role, "-line"), &points, (2, ""));
                canvas.dot(role_class(role), (begin, line));
                if number == 0 {
                    canvas.head(role_class(role), (end, centre), from);
                }
                y += entry.height();
            }
        }
        canvas.rectangle("kernel", (middle - wide / 2, centre - tall / 2), (wide, tall), 12);
        let kind = shorten_by(mono, &self.kind, room);
        let first = if name.is_some() { centre - 4 } else { centre + 4 };
        canvas.text("mono on strong", Anchor::Middle, (middle, first), &kind);
        canvas.text("mono on", Anchor::Middle, (middle, centre + 13), name.as_deref().unwrap_or_default());
    }
}

impl Entry {
    fn draw(&self, canvas: &mut Canvas, role: Role, (x, y): (usize, usize)) {
        let value = format!("mono strong {role}");
        canvas.text(&value, Anchor::Start, (x + INSET, y + 17), &self.value);
        let kind = x + INSET + mono(&self.value) + 12;
        canvas.text("mono text", Anchor::Start, (kind, y + 17), &self.kind);
        for (index, line) in self.access.iter().enumerate() {
            canvas.text("mono quiet", Anchor::Start, (x + INSET, y + 17 + (index + 1) * LINE), line);
        }
    }
}

fn role_class(role: Role) -> &'static str {
    match role {
        Role::Parent => "parent",
        Role::Child => "child",
    }
}
