//! What crosses from one process to the other, as arrows on the picture.

use super::events::Role;
use super::layout::Layout;
use super::object_history::{Story, is_of_process};
use super::svg_style::{Anchor, Canvas, From, mono};
use super::transfer::Crossing;

/// Something that crosses.
#[derive(Debug)]
struct Way {
    /// The call that sends it.
    from: usize,
    /// Where it arrives.
    to: To,
    /// What the arrow says.
    label: String,
    /// Whether it is what is told, beside the object itself.
    told: bool,
}

#[derive(Debug, Clone, Copy)]
enum To {
    /// In the other's handle table.
    Table(usize),
    /// In this call of the other's.
    Call(usize),
    /// On the other's command line, or nobody has said.
    Process,
}

/// Draws all that crosses.
pub(crate) fn draw(canvas: &mut Canvas, layout: &Layout, story: &Story<'_>) {
    for way in ways(story) {
        way.draw(canvas, layout, story);
    }
}

fn ways(story: &Story<'_>) -> Vec<Way> {
    let mut ways = Vec::new();
    for object in &story.objects {
        let (_, Some((handle, crossing))) = story.ends(object) else { continue };
        let way = |from, to, label: &str| Way { from, to, label: label.to_owned(), told: false };
        match crossing {
            Crossing::Inherited(Some(call)) => ways.push(way(call, To::Table(handle), "inherited")),
            Crossing::Duplicated(call) => {
                ways.push(way(call, To::Table(handle), "duplicated"));
                let silent = story.told().iter().all(|told| told.handle != handle);
                let message = story.message_after(handle).filter(|_| silent);
                ways.extend(message.map(|(from, to)| {
                    let label = "the number".to_owned();
                    Way { from, to: to.map_or(To::Process, To::Call), label, told: true }
                }));
            }
            Crossing::Message { sent: Some(sent), received } => {
                ways.push(way(sent, To::Call(received), "in a message"));
            }
            Crossing::Named(_) | Crossing::Message { .. } | Crossing::Taken(_) => {}
            Crossing::Inherited(None) | Crossing::Unknown => {}
        }
        let name = object.name.as_deref().or_else(|| Some(story.common_name(object)?.0));
        let starts = (0..story.events().len()).find(|event| {
            let call = story.call(*event).filter(|call| is_of_process(call));
            call.is_some_and(|call| name.is_some_and(|name| call.arguments.contains(name)))
        });
        let to = To::Process;
        ways.extend(starts.map(|from| Way { from, to, label: "the name".to_owned(), told: true }));
    }
    for told in story.told() {
        let value = format!("{:#x}", story.handles[told.handle].value);
        let label = if told.text == value { value } else { format!("{} = {value}", told.text) };
        let to = told.heard.map_or(To::Process, To::Call);
        // A command line is read by nobody's call.
        let started = story.call(told.said).is_some_and(is_of_process);
        ways.push(Way { from: told.said, to: if started { To::Process } else { to }, label, told: true });
    }
    ways
}

impl Way {
    fn draw(&self, canvas: &mut Canvas, layout: &Layout, story: &Story<'_>) {
        let Some(from) = layout.row(self.from) else { return };
        let (to, class) = (from.role.other(), if self.told { "told" } else { "way" });
        let (begin, end) = (layout.inner_edge(from.role), layout.inner_edge(to));
        let outwards = |x: usize, by: usize| match from.role {
            Role::Parent => x + by,
            Role::Child => x.saturating_sub(by),
        };
        let inwards = |x: usize, by: usize| match to {
            Role::Parent => x + by,
            Role::Child => x.saturating_sub(by),
        };
        // Where the object itself arrives in the same row, what is told goes below it.
        let carries = story.changes(self.from, false).iter().any(|change| change.ours && change.role == to);
        let y = if self.told && carries { from.last_chip + 34 } else { from.line };
        let start = (outwards(begin, 3), y);
        let turn = inwards(end, if self.told { 17 } else { 15 });
        let (points, point, came) = match self.to {
            To::Table(handle) => {
                let Some(x) = layout.lane(handle, to) else { return };
                let point = (x, layout.opening(story, handle).saturating_sub(11));
                (vec![start, (x, y), point], point, From::Above)
            }
            To::Call(call) => {
                let Some(row) = layout.row(call) else { return };
                let point = (inwards(end, 5), row.line);
                (vec![start, (turn, y), (turn, row.line), point], point, side(to))
            }
            To::Process => {
                let point = (inwards(end, 5), y);
                // Of a call that starts the other process, it is the command line that tells.
                if story.call(self.from).is_some_and(is_of_process) {
                    let anchor = if to == Role::Child { Anchor::Start } else { Anchor::End };
                    canvas.text(&format!("{class} small"), anchor, (end, y + 4), "on its command line");
                }
                (vec![start, point], point, side(to))
            }
        };
        let line = format!("{class}-line");
        canvas.line(&line, &points, (2, if self.told { "5 4" } else { "" }));
        canvas.head(class, point, came);
        let wide = mono(&self.label) + 12;
        let middle = layout.kernel.0 + layout.kernel.1 / 2;
        canvas.rectangle("kernel-tint", (middle - wide / 2, y - 10), (wide, 20), 4);
        canvas.text(&format!("mono strong {class}"), Anchor::Middle, (middle, y + 4), &self.label);
    }
}

/// The side from which an arrow to this process comes.
fn side(to: Role) -> From {
    match to {
        Role::Parent => From::Right,
        Role::Child => From::Left,
    }
}
