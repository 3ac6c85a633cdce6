//! Draws a recording as a picture. Time runs downwards; each process has a side, and the kernel is between them. A
//! handle is a bar in its process's table, from its opening to its closing, with a line to its object.

use svg::node::element::{Description, Element, Style, Title};
use svg::node::{Node, Text};

use super::events::{EventData, Recording, Role};
use super::final_tables::FinalTables;
use super::layout::{Layout, MARGIN, Row};
use super::object_history::History;
use super::replay::Handle;
use super::svg_style::{self, Anchor, Canvas, LINE, mono, sans};
use super::text_width::{milliseconds, plain, shorten_by, wrap_by};
use super::{arrows, summary};

/// The vertical position of the column headings.
const HEADS: usize = 96;
/// The upper edge of the first row.
const TOP: usize = 116;
/// The maximum width of the summary, because longer lines are hard to read.
const SUMMARY_WIDTH: usize = 900;
/// The explanation of the symbols.
const LEGEND: &str = "Time runs downwards, in ms. A bar in a handle table is a handle, from its opening to its closing. Its \
                      value is an index into that table only. A line connects the handle with its object.";

/// A part of a picture: a recording of two processes, with the words that describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panel {
    /// The events.
    pub recording: Recording,
    /// The title.
    pub title: String,
    /// The names of the two processes, in the order of [`Role`].
    pub names: [String; 2],
    /// Sentences above those that the recording itself gives.
    pub remarks: Vec<String>,
}

/// Draws the recording as a self-contained SVG picture, with its own background, in light and dark colors.
#[must_use]
pub fn svg(recording: &Recording) -> String {
    let title = summary::title(&History::of(recording));
    let names = [Role::Parent, Role::Child].map(|role| role.to_string());
    panels(&[Panel { recording: recording.clone(), title, names, remarks: Vec::new() }])
}

/// Draws several recordings below one another in one picture.
#[must_use]
pub fn panels(panels: &[Panel]) -> String {
    let drawn: Vec<Drawn> = panels.iter().map(Drawn::of).collect();
    let width = drawn.iter().map(|panel| panel.width).max().unwrap_or_default();
    let height: usize = drawn.iter().map(|panel| panel.height).sum();
    let mut document = Element::new("svg");
    document.assign("xmlns", "http://www.w3.org/2000/svg");
    document.assign("viewBox", format!("0 0 {width} {height}"));
    document.assign("width", width);
    document.assign("role", "img");
    let titles: Vec<_> = panels.iter().map(|panel| plain(&panel.title)).collect();
    document.append(Title::new(titles.join("; ")));
    let sentences: Vec<_> = drawn.iter().flat_map(|panel| &panel.sentences).map(|text| plain(text)).collect();
    document.append(Description::new().add(Text::new(sentences.join(" "))));
    document.append(Style::new(svg_style::style()));
    let mut top = 0;
    for panel in drawn {
        if top == 0 {
            panel.canvas.shapes.into_iter().for_each(|shape| document.append(shape));
        } else {
            let mut group = Element::new("g");
            group.assign("transform", format!("translate(0,{top})"));
            panel.canvas.shapes.into_iter().for_each(|shape| group.append(shape));
            document.append(group);
        }
        top += panel.height;
    }
    format!("{document}\n")
}

/// The shapes of a panel.
struct Drawn {
    canvas: Canvas,
    width: usize,
    height: usize,
    sentences: Vec<String>,
}

impl Drawn {
    fn of(panel: &Panel) -> Self {
        let history = History::of(&panel.recording);
        let answer = FinalTables::of(&history);
        let layout = Layout::of(&history, TOP, answer.height());
        let mut sentences = panel.remarks.clone();
        sentences.extend(summary::sentences(&history));
        let room = layout.width.min(SUMMARY_WIDTH) - 2 * MARGIN;
        let paragraphs: Vec<_> =
            sentences.iter().map(|paragraph| wrap_by(sans, &plain(paragraph), room, 12)).collect();
        let lines: usize = paragraphs.iter().map(|lines| lines.len() * 19 + 10).sum();
        let height = layout.bottom + 24 + lines + 10;

        let mut canvas = Canvas::default();
        canvas.rectangle("ground frame", (0, 0), (layout.width, height), 8);
        let picture = Picture { panel, history: &history, layout: &layout };
        picture.heads(&mut canvas);
        picture.objects(&mut canvas);
        picture.handles(&mut canvas);
        arrows::draw(&mut canvas, &layout, &history);
        picture.chips(&mut canvas);
        for row in &layout.rows {
            picture.row(&mut canvas, row);
            if history.shared == Some(row.event) {
                answer.draw(&mut canvas, &layout, &history, row);
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
        Self { canvas, width: layout.width, height, sentences }
    }
}

struct Picture<'a> {
    panel: &'a Panel,
    history: &'a History<'a>,
    layout: &'a Layout,
}

impl Picture<'_> {
    fn heads(&self, canvas: &mut Canvas) {
        let Layout { kernel, bottom, width, .. } = *self.layout;
        // `sans` measures smaller letters than those of the title.
        let room = (width - 2 * MARGIN) * 13 / 18;
        let title = plain(&self.panel.title).into_owned();
        canvas.text("title text strong", Anchor::Start, (MARGIN, 34), &shorten_by(sans, &title, room));
        for (index, line) in
            wrap_by(sans, LEGEND, width.min(SUMMARY_WIDTH) - 2 * MARGIN, 2).iter().enumerate()
        {
            canvas.text("quiet", Anchor::Start, (MARGIN, 54 + index * LINE), line);
        }
        for (role, name) in [Role::Parent, Role::Child].into_iter().zip(&self.panel.names) {
            let column = self.layout.column(role);
            let process =
                self.history.process(role).map_or(String::new(), |process| format!(", process {process}"));
            let place = (column.calls, HEADS);
            canvas.text(&format!("{role} strong"), Anchor::Start, place, &format!("{name}{process}"));
            if self.history.events().iter().all(|event| event.role != role) {
                canvas.text("quiet small", Anchor::Start, (column.calls, TOP + 22), "recorded no events");
            }
            let size = (column.lanes, bottom - HEADS + 18);
            canvas.rectangle(&svg_style::of(role, "-tint"), (column.table, HEADS - 18), size, 0);
            let middle = column.table + column.lanes / 2;
            canvas.text(&format!("{role} small"), Anchor::Middle, (middle, HEADS), "handles");
        }
        canvas.rectangle("kernel-tint", (kernel.0, HEADS - 18), (kernel.1, bottom - HEADS + 18), 0);
        canvas.text("kernel strong", Anchor::Middle, (kernel.0 + kernel.1 / 2, HEADS), "kernel");
    }

    /// Whether the handle appears only in the kernel's answer, which is drawn separately.
    fn is_answered(&self, handle: usize) -> bool {
        Some(self.history.handles[handle].opened) == self.history.shared
    }

    /// Returns the vertical position at which a handle is closed or its process exits.
    fn end(&self, handle: usize) -> usize {
        let handle = &self.history.handles[handle];
        let events = self.history.events().iter().enumerate();
        let ended = || {
            let mut of = events.filter(|(_, event)| event.process == handle.process);
            of.find(|(_, event)| matches!(event.data, EventData::Exited { .. })).map(|(index, _)| index)
        };
        handle.closed.or_else(ended).map_or(self.layout.bottom, |event| self.layout.position(event))
    }

    fn objects(&self, canvas: &mut Canvas) {
        for (index, object) in self.history.objects.iter().enumerate() {
            let (Some(x), Some(first)) = (self.layout.object(index), object.handles.first()) else {
                continue;
            };
            let y = self.layout.opening(self.history, *first);
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

    /// Returns the width of the head of an object.
    fn head(&self, kind: &str) -> usize {
        mono(kind) + 22
    }

    /// Returns the tracked handles that are drawn: the indices of object and handle, the process and the horizontal
    /// middle.
    fn drawn_handles(&self) -> impl Iterator<Item = (usize, usize, Role, usize)> {
        let objects = self.history.objects.iter().enumerate();
        let handles = objects.flat_map(|(object, of)| of.handles.iter().map(move |handle| (object, *handle)));
        handles.filter_map(|(object, handle)| {
            let Handle { process, opened, .. } = self.history.handles[handle];
            let role = self.history.role_of(process, opened);
            Some((object, handle, role, self.layout.lane(handle, role)?))
        })
    }

    /// Draws the bars of the handles, and the lines to their objects.
    fn handles(&self, canvas: &mut Canvas) {
        for (object, handle, role, x) in self.drawn_handles() {
            let (start, end) = (self.layout.opening(self.history, handle), self.end(handle));
            canvas.rectangle(&role.to_string(), (x - 3, start), (6, end.saturating_sub(start)), 0);
            let to = self.layout.object(object).filter(|_| !self.is_answered(handle));
            let Some(to) = to else { continue };
            let first = self.history.objects[object].handles.first() == Some(&handle);
            let reach = if first {
                self.head(&shorten_by(mono, &self.history.objects[object].kind, 80)) / 2
            } else {
                3
            };
            let end = if role == Role::Parent { to - reach } else { to + reach };
            canvas.line(&svg_style::of(role, "-line"), &[(x, start), (end, start)], (2, ""));
            canvas.dot(&role.to_string(), (end, start));
        }
    }

    /// Draws the handle values where the handles are opened, and struck through where they are closed.
    fn chips(&self, canvas: &mut Canvas) {
        let size = (self.layout.chip(), 22);
        for (_, handle, role, x) in self.drawn_handles() {
            let value = format!("{:#x}", self.history.handles[handle].value);
            let opened = self.layout.opening(self.history, handle);
            if !self.is_answered(handle) {
                canvas.rectangle(&role.to_string(), (x - size.0 / 2, opened - 11), size, 4);
                canvas.text("mono on strong", Anchor::Middle, (x, opened + 4), &value);
            }
            if let Some(closed) = self.history.handles[handle].closed {
                let y = self.layout.position(closed);
                let class = format!("ground {}", svg_style::of(role, "-line"));
                canvas.rectangle(&class, (x - size.0 / 2, y - 11), size, 4);
                canvas.text(&format!("mono struck {role}"), Anchor::Middle, (x, y + 4), &value);
            }
        }
    }

    fn row(&self, canvas: &mut Canvas, row: &Row) {
        let time = milliseconds(self.history.since_start(row.event));
        canvas.text("quiet small", Anchor::End, (self.layout.time, row.line + 4), &time);
        let x = self.layout.column(row.role).calls;
        let (class, strong) = match &self.history.events()[row.event].data {
            EventData::Call(call) if call.failed => ("wrong", plain(&call.call).into_owned()),
            EventData::Call(call) => ("text", plain(&call.call).into_owned()),
            EventData::Exited { code: 0 } => ("quiet", String::new()),
            _ => ("wrong", String::new()),
        };
        for (index, line) in row.text.iter().enumerate() {
            let place = (x, row.line + 4 + index * LINE);
            let strong = if index == 0 { strong.as_str() } else { "" };
            canvas.call(class, place, strong, line);
        }
    }
}
