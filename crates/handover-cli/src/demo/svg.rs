//! The story as a picture: time runs down, each process on a side, the kernel between them. A handle is a bar in its
//! process's table, from its opening to its end, with a line to the object that it refers to.

use svg::node::element::{Description, Element, Style, Title};
use svg::node::{Node, Text};

use super::events::{Recording, Role, What};
use super::final_tables::Answer;
use super::layout::{Layout, MARGIN, Row};
use super::object_history::Story;
use super::replay::Handle;
use super::svg_style::{self, Anchor, Canvas, LINE, mono, sans};
use super::text_width::{milliseconds, plain, shorten_by, wrap_by};
use super::{arrows, summary};

/// Where the headings of the columns stand.
const HEADS: usize = 96;
/// Where the first row begins.
const TOP: usize = 116;
/// Sentences are hard to read in longer lines.
const SENTENCES: usize = 900;
/// What the picture's signs mean.
const LEGEND: &str = "Time runs down, in ms. A bar in a handle table is a handle, from its opening to its end; its number \
                      is an index into that table alone. The line from it leads to the object that it refers to.";

/// The recording as a picture that stands alone: SVG, with a ground of its own, for light and for dark.
#[must_use]
pub fn svg(recording: &Recording) -> String {
    let story = Story::of(recording);
    let answer = Answer::of(&story);
    let layout = Layout::of(&story, TOP, answer.height());
    let sentences = summary::sentences(&story);
    let room = layout.width.min(SENTENCES) - 2 * MARGIN;
    let paragraphs: Vec<_> =
        sentences.iter().map(|paragraph| wrap_by(sans, &plain(paragraph), room, 12)).collect();
    let lines: usize = paragraphs.iter().map(|lines| lines.len() * 19 + 10).sum();
    let height = layout.bottom + 24 + lines + 10;

    let mut canvas = Canvas::default();
    canvas.rectangle("ground frame", (0, 0), (layout.width, height), 8);
    let picture = Picture { story: &story, layout: &layout };
    picture.heads(&mut canvas);
    picture.objects(&mut canvas);
    picture.handles(&mut canvas);
    arrows::draw(&mut canvas, &layout, &story);
    picture.chips(&mut canvas);
    for row in &layout.rows {
        picture.row(&mut canvas, row);
        if story.shared == Some(row.event) {
            answer.draw(&mut canvas, &layout, &story, row);
        }
    }
    let mut y = layout.bottom + 30;
    for line in &paragraphs {
        for line in line {
            canvas.text("text", Anchor::Start, (MARGIN, y), line);
            y += 19;
        }
        y += 10;
    }

    let mut document = Element::new("svg");
    document.assign("xmlns", "http://www.w3.org/2000/svg");
    document.assign("viewBox", format!("0 0 {} {height}", layout.width));
    document.assign("width", layout.width);
    document.assign("role", "img");
    document.append(Title::new(plain(&summary::title(&story))));
    document.append(Description::new().add(Text::new(plain(&sentences.join(" ")))));
    document.append(Style::new(svg_style::style()));
    for shape in canvas.shapes {
        document.append(shape);
    }
    format!("{document}\n")
}

struct Picture<'a> {
    story: &'a Story<'a>,
    layout: &'a Layout,
}

impl Picture<'_> {
    fn heads(&self, canvas: &mut Canvas) {
        let Layout { kernel, bottom, width, .. } = *self.layout;
        // The title's letters are larger than those that are measured.
        let room = (width - 2 * MARGIN) * 13 / 18;
        let title = plain(&summary::title(self.story)).into_owned();
        canvas.text("title text strong", Anchor::Start, (MARGIN, 34), &shorten_by(sans, &title, room));
        for (index, line) in wrap_by(sans, LEGEND, width.min(SENTENCES) - 2 * MARGIN, 2).iter().enumerate() {
            canvas.text("quiet", Anchor::Start, (MARGIN, 54 + index * LINE), line);
        }
        for role in [Role::Parent, Role::Child] {
            let column = self.layout.column(role);
            let process =
                self.story.process(role).map_or(String::new(), |process| format!(", process {process}"));
            let place = (column.calls, HEADS);
            canvas.text(&format!("{role} strong"), Anchor::Start, place, &format!("{role}{process}"));
            if self.story.events().iter().all(|event| event.role != role) {
                canvas.text("quiet small", Anchor::Start, (column.calls, TOP + 22), "has recorded nothing");
            }
            let size = (column.lanes, bottom - HEADS + 18);
            canvas.rectangle(&svg_style::of(role, "-tint"), (column.table, HEADS - 18), size, 0);
            let middle = column.table + column.lanes / 2;
            canvas.text(&format!("{role} small"), Anchor::Middle, (middle, HEADS), "handles");
        }
        canvas.rectangle("kernel-tint", (kernel.0, HEADS - 18), (kernel.1, bottom - HEADS + 18), 0);
        canvas.text("kernel strong", Anchor::Middle, (kernel.0 + kernel.1 / 2, HEADS), "kernel");
    }

    /// Whether nothing but the kernel's answer shows the handle, which has a picture of its own.
    fn is_answered(&self, handle: usize) -> bool {
        Some(self.story.handles[handle].opened) == self.story.shared
    }

    /// Where a handle ends: where it is closed, or with its process.
    fn end(&self, handle: usize) -> usize {
        let handle = &self.story.handles[handle];
        let events = self.story.events().iter().enumerate();
        let ended = || {
            let mut of = events.filter(|(_, event)| event.process == handle.process);
            of.find(|(_, event)| matches!(event.what, What::Ended { .. })).map(|(index, _)| index)
        };
        handle.closed.or_else(ended).map_or(self.layout.bottom, |event| self.layout.place(event))
    }

    fn objects(&self, canvas: &mut Canvas) {
        for (index, object) in self.story.objects.iter().enumerate() {
            let (Some(x), Some(first)) = (self.layout.object(index), object.handles.first()) else {
                continue;
            };
            let y = self.layout.opening(self.story, *first);
            let end = object.handles.iter().map(|handle| self.end(*handle)).max().unwrap_or(y);
            canvas.rectangle("kernel", (x - 3, y), (6, end.saturating_sub(y)), 0);
            canvas.rectangle("kernel", (x - 10, end.saturating_sub(2)), (20, 3), 0);
            if self.is_answered(*first) {
                continue;
            }
            let kind = shorten_by(mono, &object.kind, 80);
            let wide = self.head(&kind);
            canvas.rectangle("kernel", (x - wide / 2, y - 12), (wide, 24), 12);
            canvas.text("mono on strong", Anchor::Middle, (x, y + 4), &kind);
            let name = plain(object.name.as_deref().unwrap_or_default()).into_owned();
            if !name.is_empty() {
                let name = shorten_by(mono, &name, self.layout.name_room());
                canvas.rectangle("kernel-tint", (x - mono(&name) / 2, y + 14), (mono(&name), 17), 0);
                canvas.text("mono kernel", Anchor::Middle, (x, y + 26), &name);
            }
        }
    }

    /// How wide the head of an object is.
    fn head(&self, kind: &str) -> usize {
        mono(kind) + 22
    }

    /// All handles of the story that have a place, by index, with their process and the middle of their place.
    fn placed(&self) -> impl Iterator<Item = (usize, usize, Role, usize)> {
        let objects = self.story.objects.iter().enumerate();
        let handles = objects.flat_map(|(object, of)| of.handles.iter().map(move |handle| (object, *handle)));
        handles.filter_map(|(object, handle)| {
            let Handle { process, opened, .. } = self.story.handles[handle];
            let role = self.story.role_of(process, opened);
            Some((object, handle, role, self.layout.lane(handle, role)?))
        })
    }

    /// The bars of the handles, and the lines to what they refer to.
    fn handles(&self, canvas: &mut Canvas) {
        for (object, handle, role, x) in self.placed() {
            let (start, end) = (self.layout.opening(self.story, handle), self.end(handle));
            canvas.rectangle(&role.to_string(), (x - 3, start), (6, end.saturating_sub(start)), 0);
            let to = self.layout.object(object).filter(|_| !self.is_answered(handle));
            let Some(to) = to else { continue };
            let first = self.story.objects[object].handles.first() == Some(&handle);
            let reach = if first {
                self.head(&shorten_by(mono, &self.story.objects[object].kind, 80)) / 2
            } else {
                3
            };
            let end = if role == Role::Parent { to - reach } else { to + reach };
            canvas.line(&svg_style::of(role, "-line"), &[(x, start), (end, start)], (2, ""));
            canvas.dot(&role.to_string(), (end, start));
        }
    }

    /// The numbers of the handles, where they are opened, and struck where they are closed.
    fn chips(&self, canvas: &mut Canvas) {
        let size = (self.layout.chip(), 22);
        for (_, handle, role, x) in self.placed() {
            let value = format!("{:#x}", self.story.handles[handle].value);
            let opened = self.layout.opening(self.story, handle);
            if !self.is_answered(handle) {
                canvas.rectangle(&role.to_string(), (x - size.0 / 2, opened - 11), size, 4);
                canvas.text("mono on strong", Anchor::Middle, (x, opened + 4), &value);
            }
            if let Some(closed) = self.story.handles[handle].closed {
                let y = self.layout.place(closed);
                let class = format!("ground {}", svg_style::of(role, "-line"));
                canvas.rectangle(&class, (x - size.0 / 2, y - 11), size, 4);
                canvas.text(&format!("mono struck {role}"), Anchor::Middle, (x, y + 4), &value);
            }
        }
    }

    fn row(&self, canvas: &mut Canvas, row: &Row) {
        let time = milliseconds(self.story.since_start(row.event));
        canvas.text("quiet small", Anchor::End, (self.layout.time, row.line + 4), &time);
        let x = self.layout.column(row.role).calls;
        let (class, strong) = match &self.story.events()[row.event].what {
            What::Call(call) if call.failed => ("wrong", plain(&call.call).into_owned()),
            What::Call(call) => ("text", plain(&call.call).into_owned()),
            What::Ended { code: 0 } => ("quiet", String::new()),
            _ => ("wrong", String::new()),
        };
        for (index, line) in row.text.iter().enumerate() {
            let place = (x, row.line + 4 + index * LINE);
            let strong = if index == 0 { strong.as_str() } else { "" };
            canvas.call(class, place, strong, line);
        }
    }
}
