//! The story in a terminal: a timeline of both processes, their tables when they share, and a few sentences.

use anstyle::{AnsiColor, Style};

use super::events::{Recording, Role, What};
use super::object_history::Story;
use super::text_width::{self, milliseconds, plain, width, wrap};
use super::transfer::PassedValue;
use super::{summary, tables};

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const CHANGE: Style = AnsiColor::Green.on_default();
const NUMBER: Style = AnsiColor::Magenta.on_default();
const WRONG: Style = AnsiColor::Red.on_default().bold();

/// Below this it isn't readable, and isn't made narrower.
const NARROWEST: usize = 40;
/// From this on, both processes have a column of their own.
const WIDE: usize = 100;
/// Sentences are hard to read in longer lines.
const SENTENCES: usize = 100;
/// The column of the times, with what is between it and the next.
const TIME: usize = 10;

/// Pieces of text, each in its style.
pub(crate) type Line = Vec<(Style, String)>;

/// The recording as text of this width, in columns of a terminal; never less than 40. With `all`, also what isn't of
/// the story: calls that only ask, and handles that both have anyway.
#[must_use]
pub fn text(recording: &Recording, width: usize, styled: bool, all: bool) -> String {
    let story = Story::of(recording);
    let page = Page { story: &story, told: story.told(), width: width.max(NARROWEST), all };
    let mut lines = page.title();
    lines.extend(if page.is_wide() { page.two_columns() } else { page.one_column() });
    lines.extend(tables::tables(&story, page.width));
    let sentences = summary::sentences(&story);
    for paragraph in &sentences {
        lines.push(Line::new());
        let wrapped = wrap(&plain(paragraph), page.width.min(SENTENCES), usize::MAX);
        lines.extend(wrapped.into_iter().map(|line| vec![(PLAIN, line)]));
    }
    lines.iter().map(|line| render(line, styled) + "\n").collect()
}

struct Page<'a> {
    story: &'a Story<'a>,
    told: Vec<PassedValue>,
    width: usize,
    all: bool,
}

impl Page<'_> {
    fn is_wide(&self) -> bool {
        self.width >= WIDE
    }

    fn title(&self) -> Vec<Line> {
        let title = wrap(&plain(&summary::title(self.story)), self.width, 2);
        title.into_iter().map(|line| vec![(BOLD, line)]).chain([Line::new()]).collect()
    }

    fn head(&self, role: Role) -> String {
        match self.story.process(role) {
            Some(process) => format!("{role}, process {process}"),
            None => role.to_string(),
        }
    }

    fn shown(&self) -> impl Iterator<Item = usize> {
        (0..self.story.events().len()).filter(|event| self.all || self.story.belongs(*event))
    }

    fn time(&self, event: usize) -> (Style, String) {
        (DIM, format!("{:>8}  ", milliseconds(self.story.since_start(event))))
    }

    fn two_columns(&self) -> Vec<Line> {
        let left = (self.width - TIME - 3) / 2;
        let right = self.width - TIME - 3 - left;
        let head = |role, columns| vec![(BOLD, text_width::shorten(&self.head(role), columns).into_owned())];
        let row = |time, (parent, child): (Line, Line)| -> Line {
            let mut line = vec![time];
            line.extend(padded(parent, left));
            line.push((DIM, " │ ".to_owned()));
            line.extend(child);
            line
        };
        let heads = (head(Role::Parent, left), head(Role::Child, right));
        let mut lines = vec![row((DIM, format!("{:>8}  ", "ms")), heads)];
        for event in self.shown() {
            let role = self.story.events()[event].role;
            let columns = |of| if of == Role::Parent { left } else { right };
            if matches!(self.story.events()[event].what, What::Shared(_)) {
                let mut answer = self.happening(event, self.width - TIME - 8);
                for (index, line) in answer.iter_mut().enumerate() {
                    line.insert(0, (DIM, if index == 0 { "kernel: ".to_owned() } else { " ".repeat(8) }));
                }
                lines.extend(timed(self.time(event), answer));
                continue;
            }
            let mut cells = [self.happening(event, columns(role)), Vec::new()];
            for of in [role, role.other()] {
                let own = of == role;
                // What it did to the caller's own table stands below the call, the rest beside it.
                let indent = if own { 2 } else { 0 };
                let cell = &mut cells[usize::from(!own)];
                for (style, change) in self.changes(event, of) {
                    for line in wrap(&change, columns(of) - indent, 2) {
                        cell.push(vec![(style, format!("{}{line}", " ".repeat(indent)))]);
                    }
                }
            }
            if role == Role::Child {
                cells.reverse();
            }
            let [parent, child] = cells;
            for index in 0..parent.len().max(child.len()) {
                let time = if index == 0 { self.time(event) } else { (PLAIN, " ".repeat(TIME)) };
                let cell = |lines: &[Line]| lines.get(index).cloned().unwrap_or_default();
                lines.push(row(time, (cell(&parent), cell(&child))));
            }
        }
        lines
    }

    fn one_column(&self) -> Vec<Line> {
        let mut lines = vec![vec![(DIM, format!("{:>8}", "ms"))]];
        for event in self.shown() {
            let role = self.story.events()[event].role;
            let is_answer = matches!(self.story.events()[event].what, What::Shared(_));
            let who = if is_answer { "kernel".to_owned() } else { role.to_string() };
            let (_, time) = self.time(event);
            let happening = self.happening(event, self.width - TIME - 8);
            let (blank, who) = ((PLAIN, " ".repeat(TIME + 8)), format!("{who:<8}"));
            for (index, line) in happening.into_iter().enumerate() {
                let lead = if index == 0 {
                    vec![(DIM, time.clone()), (BOLD, who.clone())]
                } else {
                    vec![blank.clone()]
                };
                lines.push(lead.into_iter().chain(line).collect());
            }
            for of in [Role::Parent, Role::Child] {
                for (style, change) in self.changes(event, of) {
                    for line in wrap(&format!("{of} {change}"), self.width - TIME - 10, 2) {
                        lines.push(vec![(PLAIN, " ".repeat(TIME + 10)), (style, line)]);
                    }
                }
            }
        }
        lines
    }

    /// What happened, in lines of this width.
    fn happening(&self, event: usize, columns: usize) -> Vec<Line> {
        let (style, text, strong) = match &self.story.events()[event].what {
            What::Call(call) => {
                let text = format!("{}({}) = {}", call.call, text_width::brief(&call.arguments), call.result);
                (if call.failed { WRONG } else { PLAIN }, text, plain(&call.call).into_owned())
            }
            What::Table(entries) => {
                let entries = entries.iter().map(|entry| format!("{:#x} {}", entry.value, entry.kind));
                let entries: Vec<_> = entries.collect();
                (DIM, format!("has {} handles: {}", entries.len(), entries.join(", ")), String::new())
            }
            What::Shared(_) => (BOLD, summary::answer(self.story, event), String::new()),
            What::Started(started) => (DIM, format!("starts: {}", started.program), String::new()),
            What::Ended { code: 0 } => (DIM, "ends with code 0".to_owned(), String::new()),
            What::Ended { code } => (WRONG, format!("ends with code {code}"), String::new()),
            What::Failed(why) => (WRONG, format!("fails: {why}"), String::new()),
        };
        // Lines after the first stand two columns to the right, so that a call begins where a line does.
        let wrapped = wrap(&plain(&text), columns - 2, 6);
        let lines = wrapped.into_iter().enumerate();
        lines
            .map(|(index, line)| match line.strip_prefix(&strong) {
                Some(rest) if index == 0 && style == PLAIN => {
                    vec![(BOLD, strong.clone()), (PLAIN, rest.to_owned())]
                }
                _ => vec![(style, format!("{}{line}", if index == 0 { "" } else { "  " }))],
            })
            .collect()
    }

    /// What it did to this process's handle table, and what it told.
    fn changes(&self, event: usize, role: Role) -> Vec<(Style, String)> {
        let story = self.story;
        let changes = story.changes(event, self.all).into_iter().filter(|change| change.role == role);
        let changes = changes.map(|change| {
            let sign = if change.opened { '+' } else { '-' };
            let comma = if change.opened || change.what.is_empty() { "" } else { "," };
            let style = if change.ours { CHANGE } else { DIM };
            (style, plain(&format!("{sign}{:#x}{comma} {}", change.value, change.what)).into_owned())
        });
        let told = self.told.iter().filter_map(|told| {
            let value = story.handles[told.handle].value;
            let other = story.handles[told.handle].process;
            if told.said == event && story.events()[event].role == role {
                Some((
                    NUMBER,
                    format!("tells the number {}, which is {value:#x} in process {other}", told.text),
                ))
            } else if told.heard == Some(event) && story.events()[event].role == role {
                Some((NUMBER, format!("learns the number: {value:#x}")))
            } else {
                None
            }
        });
        changes.chain(told).collect()
    }
}

/// The time before the first line, and room below it.
fn timed(time: (Style, String), lines: Vec<Line>) -> impl Iterator<Item = Line> {
    let leads = [time].into_iter().chain(std::iter::repeat((PLAIN, " ".repeat(TIME))));
    leads.zip(lines).map(|(lead, line)| [lead].into_iter().chain(line).collect())
}

fn padded(mut line: Line, columns: usize) -> Line {
    let taken: usize = line.iter().map(|(_, text)| width(text)).sum();
    line.push((PLAIN, " ".repeat(columns.saturating_sub(taken))));
    line
}

fn render(line: &Line, styled: bool) -> String {
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
