//! Draws an arrow for each object, name and handle value that passes from one process to the other.

use super::events::Role;
use super::layout::Layout;
use super::object_history::{History, is_of_process};
use super::svg_style::{Anchor, Canvas, Direction, mono};
use super::transfer::Transfer;

/// An arrow from one process to the other.
#[derive(Debug)]
struct Arrow {
    /// The call at which it starts.
    from: usize,
    /// The point at which it ends.
    to: Target,
    /// The text on the arrow.
    label: String,
    /// Whether it stands for a name or a handle value, rather than for the object itself.
    is_text: bool,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    /// A handle in the handle table of the other process.
    Table(usize),
    /// A call of the other process.
    Call(usize),
    /// The command line of the other process, or an unknown call.
    Process,
}

/// Draws all arrows.
pub(crate) fn draw(canvas: &mut Canvas, layout: &Layout, history: &History<'_>) {
    for arrow in arrows(history) {
        arrow.draw(canvas, layout, history);
    }
}

fn arrows(history: &History<'_>) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for object in &history.objects {
        let (_, Some((handle, transfer))) = history.giver_and_receiver(object) else { continue };
        let arrow = |from, to, label: &str| Arrow { from, to, label: label.to_owned(), is_text: false };
        match transfer {
            Transfer::Inherited(Some(call)) => arrows.push(arrow(call, Target::Table(handle), "inherited")),
            Transfer::Duplicated(call) => {
                arrows.push(arrow(call, Target::Table(handle), "duplicated"));
                let has_no_passed_value =
                    history.passed_values().iter().all(|passed| passed.handle != handle);
                let message = history.message_after(handle).filter(|_| has_no_passed_value);
                arrows.extend(message.map(|(from, to)| {
                    let label = "handle value".to_owned();
                    Arrow { from, to: to.map_or(Target::Process, Target::Call), label, is_text: true }
                }));
            }
            Transfer::Message { sent: Some(sent), received } => {
                arrows.push(arrow(sent, Target::Call(received), "in a message"));
            }
            Transfer::Named(_) | Transfer::Message { .. } | Transfer::Taken(_) => {}
            Transfer::Inherited(None) | Transfer::Unknown => {}
        }
        let name = object.name.as_deref().or_else(|| Some(history.common_name(object)?.0));
        let starts = (0..history.events().len()).find(|event| {
            let call = history.call(*event).filter(|call| is_of_process(call));
            call.is_some_and(|call| name.is_some_and(|name| call.arguments.contains(name)))
        });
        let to = Target::Process;
        arrows.extend(starts.map(|from| Arrow { from, to, label: "name".to_owned(), is_text: true }));
    }
    for passed in history.passed_values() {
        let value = format!("{:#x}", history.handles[passed.handle].value);
        let label = if passed.text == value { value } else { format!("{} = {value}", passed.text) };
        let to = passed.received.map_or(Target::Process, Target::Call);
        // No recorded call reads a command line.
        let started = history.call(passed.sent).is_some_and(is_of_process);
        arrows.push(Arrow {
            from: passed.sent,
            to: if started { Target::Process } else { to },
            label,
            is_text: true,
        });
    }
    arrows
}

impl Arrow {
    fn draw(&self, canvas: &mut Canvas, layout: &Layout, history: &History<'_>) {
        let Some(from) = layout.row(self.from) else { return };
        let (to, class) = (from.role.other(), if self.is_text { "passed" } else { "arrow" });
        let (begin, end) = (layout.inner_edge(from.role), layout.inner_edge(to));
        let outwards = |x: usize, by: usize| match from.role {
            Role::Parent => x + by,
            Role::Child => x.saturating_sub(by),
        };
        let inwards = |x: usize, by: usize| match to {
            Role::Parent => x + by,
            Role::Child => x.saturating_sub(by),
        };
        // If the object itself arrives in the same row, the arrow with the handle value goes below it.
        let carries =
            history.changes(self.from, false).iter().any(|change| change.tracked && change.role == to);
        let y = if self.is_text && carries { from.last_chip + 34 } else { from.line };
        let start = (outwards(begin, 3), y);
        let turn = inwards(end, if self.is_text { 17 } else { 15 });
        let (points, point, direction) = match self.to {
            Target::Table(handle) => {
                let Some(x) = layout.lane(handle, to) else { return };
                let point = (x, layout.opening(history, handle).saturating_sub(11));
                (vec![start, (x, y), point], point, Direction::Above)
            }
            Target::Call(call) => {
                let Some(row) = layout.row(call) else { return };
                let point = (inwards(end, 5), row.line);
                (vec![start, (turn, y), (turn, row.line), point], point, side(to))
            }
            Target::Process => {
                let point = (inwards(end, 5), y);
                // A call that starts the other process passes the text on its command line.
                if history.call(self.from).is_some_and(is_of_process) {
                    let anchor = if to == Role::Child { Anchor::Start } else { Anchor::End };
                    canvas.text(&format!("{class} small"), anchor, (end, y + 4), "on its command line");
                }
                (vec![start, point], point, side(to))
            }
        };
        let line = format!("{class}-line");
        canvas.line(&line, &points, (2, if self.is_text { "5 4" } else { "" }));
        canvas.head(class, point, direction);
        let wide = mono(&self.label) + 12;
        let middle = layout.kernel.0 + layout.kernel.1 / 2;
        canvas.rectangle("kernel-tint", (middle - wide / 2, y - 10), (wide, 20), 4);
        canvas.text(&format!("mono strong {class}"), Anchor::Middle, (middle, y + 4), &self.label);
    }
}

/// Returns the direction from which arrows come to this process.
fn side(to: Role) -> Direction {
    match to {
        Role::Parent => Direction::Right,
        Role::Child => Direction::Left,
    }
}
