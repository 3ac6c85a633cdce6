//! Writes a recording for a terminal: a timeline of both processes, their handle tables, and a summary.

use anstyle::Style;

use super::events::{EventData, Recording, Role};
use super::object_history::History;
use super::styled::{BOLD, CHANGE, DIM, ERROR, Line, PASSED, PLAIN, render};
use super::text_width::{self, milliseconds, plain, width, wrap};
use super::transfer::PassedValue;
use super::{summary, tables};

/// The minimum width. Narrower text would be unreadable.
const MIN_WIDTH: usize = 40;
/// From this width on, each process has its own column.
const TWO_COLUMNS: usize = 100;
/// The maximum width of the summary, because longer lines are hard to read.
const SUMMARY_WIDTH: usize = 100;
/// The width of the column with the times, including the space after it.
const TIME: usize = 10;

/// Formats the recording as text of this width, in columns of a terminal, but at least 40 columns wide. With `all`, the
/// text also contains the calls that only query, and the calls and handles that are unrelated to the shared objects.
#[must_use]
pub fn text(recording: &Recording, width: usize, styled: bool, all: bool) -> String {
    let history = History::of(recording);
    let page =
        Page { history: &history, passed_values: history.passed_values(), width: width.max(MIN_WIDTH), all };
    let mut lines = page.title();
    lines.extend(if page.is_wide() { page.two_columns() } else { page.one_column() });
    lines.extend(tables::tables(&history, page.width));
    let sentences = summary::sentences(&history);
    for paragraph in &sentences {
        lines.push(Line::new());
        let wrapped = wrap(&plain(paragraph), page.width.min(SUMMARY_WIDTH), usize::MAX);
        lines.extend(wrapped.into_iter().map(|line| vec![(PLAIN, line)]));
    }
    lines.iter().map(|line| render(line, styled) + "\n").collect()
}

struct Page<'a> {
    history: &'a History<'a>,
    passed_values: Vec<PassedValue>,
    width: usize,
    all: bool,
}

impl Page<'_> {
    fn is_wide(&self) -> bool {
        self.width >= TWO_COLUMNS
    }

    fn title(&self) -> Vec<Line> {
        let title = wrap(&plain(&summary::title(self.history)), self.width, 2);
        title.into_iter().map(|line| vec![(BOLD, line)]).chain([Line::new()]).collect()
    }

    fn head(&self, role: Role) -> String {
        match self.history.process(role) {
            Some(process) => format!("{role}, process {process}"),
            None => role.to_string(),
        }
    }

    fn shown(&self) -> impl Iterator<Item = usize> {
        (0..self.history.events().len()).filter(|event| self.all || self.history.is_relevant(*event))
    }

    fn time(&self, event: usize) -> (Style, String) {
        (DIM, format!("{:>8}  ", milliseconds(self.history.since_start(event))))
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
            let role = self.history.events()[event].role;
            let columns = |of| if of == Role::Parent { left } else { right };
            if matches!(self.history.events()[event].data, EventData::Shared(_)) {
                let mut answer = self.description(event, self.width - TIME - 8);
                for (index, line) in answer.iter_mut().enumerate() {
                    line.insert(0, (DIM, if index == 0 { "kernel: ".to_owned() } else { " ".repeat(8) }));
                }
                lines.extend(timed(self.time(event), answer));
                continue;
            }
            let mut cells = [self.description(event, columns(role)), Vec::new()];
            for of in [role, role.other()] {
                let own = of == role;
                // Changes to the caller's own table are shown below the call; changes to the other table beside it.
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
            let role = self.history.events()[event].role;
            let is_answer = matches!(self.history.events()[event].data, EventData::Shared(_));
            let source = if is_answer { "kernel".to_owned() } else { role.to_string() };
            let (_, time) = self.time(event);
            let description = self.description(event, self.width - TIME - 8);
            let (blank, source) = ((PLAIN, " ".repeat(TIME + 8)), format!("{source:<8}"));
            for (index, line) in description.into_iter().enumerate() {
                let lead = if index == 0 {
                    vec![(DIM, time.clone()), (BOLD, source.clone())]
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

    /// Describes the event in lines of this width.
    fn description(&self, event: usize, columns: usize) -> Vec<Line> {
        let (style, text, strong) = match &self.history.events()[event].data {
            EventData::Call(call) => {
                let text = format!(
                    "{}({}) = {}",
                    call.call,
                    text_width::shorten_paths(&call.arguments),
                    call.result
                );
                (if call.failed { ERROR } else { PLAIN }, text, plain(&call.call).into_owned())
            }
            EventData::Table(entries) => {
                let entries = entries.iter().map(|entry| format!("{:#x} {}", entry.value, entry.kind));
                let entries: Vec<_> = entries.collect();
                (DIM, format!("has {} handles: {}", entries.len(), entries.join(", ")), String::new())
            }
            EventData::Shared(_) => (BOLD, summary::answer(self.history, event), String::new()),
            EventData::Started(started) => (DIM, format!("starts: {}", started.program), String::new()),
            EventData::Exited { code: 0 } => (DIM, "exits with code 0".to_owned(), String::new()),
            EventData::Exited { code } => (ERROR, format!("exits with code {code}"), String::new()),
            EventData::Failed(reason) => (ERROR, format!("fails: {reason}"), String::new()),
        };
        // Continuation lines are indented by two columns, so that the start of each call stands out.
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

    /// Describes the event's changes to this process's handle table, and the handle value that this process passes or
    /// receives.
    fn changes(&self, event: usize, role: Role) -> Vec<(Style, String)> {
        let history = self.history;
        let changes = history.changes(event, self.all).into_iter().filter(|change| change.role == role);
        let changes = changes.map(|change| {
            let sign = if change.opened { '+' } else { '-' };
            let comma = if change.opened || change.description.is_empty() { "" } else { "," };
            let style = if change.tracked { CHANGE } else { DIM };
            (style, plain(&format!("{sign}{:#x}{comma} {}", change.value, change.description)).into_owned())
        });
        let passed = self.passed_values.iter().filter_map(|passed| {
            let value = history.handles[passed.handle].value;
            let other = history.handles[passed.handle].process;
            if passed.sent == event && history.events()[event].role == role {
                Some((
                    PASSED,
                    format!("passes the handle value {} ({value:#x} in process {other})", passed.text),
                ))
            } else if passed.received == Some(event) && history.events()[event].role == role {
                Some((PASSED, format!("receives the handle value {value:#x}")))
            } else {
                None
            }
        });
        changes.chain(passed).collect()
    }
}

/// Puts the time before the first line, and the same space before the other lines.
fn timed(time: (Style, String), lines: Vec<Line>) -> impl Iterator<Item = Line> {
    let leads = [time].into_iter().chain(std::iter::repeat((PLAIN, " ".repeat(TIME))));
    leads.zip(lines).map(|(lead, line)| [lead].into_iter().chain(line).collect())
}

fn padded(mut line: Line, columns: usize) -> Line {
    let taken: usize = line.iter().map(|(_, text)| width(text)).sum();
    line.push((PLAIN, " ".repeat(columns.saturating_sub(taken))));
    line
}
