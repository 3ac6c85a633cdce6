//! Computes the positions on the picture: columns from left to right, rows in the order of time from top to bottom.

use super::events::{EventData, Role};
use super::object_history::History;
use super::svg_style::{LINE, mono};
use super::text_width::{self, plain, wrap_by};

/// The margin on the left and on the right.
pub(crate) const MARGIN: usize = 20;
/// The width of the column with the calls of one process.
const CALLS: usize = 268;
/// The space between calls and handle table, where arrows turn.
const GAP: usize = 20;
/// The maximum number of drawn objects, and of drawn handles that one process has open at the same time.
const MAX_DRAWN: usize = 5;
/// The vertical distance between handles that the same call opens.
const CHIP: usize = 26;
/// The space above the first line of a row.
const ABOVE: usize = 18;

/// The positions of all columns and rows.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) width: usize,
    /// The right edge of the times.
    pub(crate) time: usize,
    pub(crate) parent: Column,
    pub(crate) child: Column,
    /// The left edge and the width of the kernel's column.
    pub(crate) kernel: (usize, usize),
    pub(crate) rows: Vec<Row>,
    /// The lower edge of the last row.
    pub(crate) bottom: usize,
    lane: usize,
    lanes: Vec<Option<usize>>,
    objects: usize,
}

/// The columns of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// The left edge of its calls.
    pub(crate) calls: usize,
    /// The width of its calls.
    pub(crate) wide: usize,
    /// The left edge of its handle table.
    pub(crate) table: usize,
    /// The width of its handle table.
    pub(crate) lanes: usize,
}

/// The row of an event.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) event: usize,
    pub(crate) role: Role,
    pub(crate) top: usize,
    pub(crate) height: usize,
    /// The middle of the first line, at which arrows start and end.
    pub(crate) line: usize,
    /// The middle of the first handle that the event opens, and of the handles that it closes.
    pub(crate) chip: usize,
    /// The middle of the last handle that the event opens.
    pub(crate) last_chip: usize,
    /// The description of the event, in lines.
    pub(crate) text: Vec<String>,
}

impl Layout {
    /// Computes all positions. The first row begins at `top`; the row of the kernel's answer has the height `answer`.
    pub(crate) fn of(history: &History<'_>, top: usize, answer: usize) -> Self {
        let shown: Vec<_> = (0..history.events().len()).filter(|event| history.is_relevant(*event)).collect();
        let lanes = lanes(history);
        let count = |role| {
            let of = |index: &usize| {
                history.role_of(history.handles[*index].process, history.handles[*index].opened) == role
            };
            let taken = (0..lanes.len()).filter(of).filter_map(|index| lanes[index]);
            taken.max().map_or(1, |most| most + 1)
        };
        let values = history.objects.iter().flat_map(|object| &object.handles);
        let widest = values.map(|handle| mono(&format!("{:#x}", history.handles[*handle].value))).max();
        let lane = widest.unwrap_or_default().max(30) + 18;
        let objects = history.objects.len().clamp(1, MAX_DRAWN);
        let time = MARGIN + 42;
        let calls = time + 14;
        let parent =
            Column { calls, wide: CALLS, table: calls + CALLS + GAP, lanes: lane * count(Role::Parent) };
        let kernel = (parent.table + parent.lanes, 50 + 100 * objects);
        let table = kernel.0 + kernel.1;
        let lanes_wide = lane * count(Role::Child);
        let child = Column { calls: table + lanes_wide + GAP, wide: CALLS, table, lanes: lanes_wide };
        let width = child.calls + child.wide + MARGIN;
        let rows = Vec::new();
        let mut layout = Self { width, time, parent, child, kernel, rows, bottom: top, lane, lanes, objects };
        let senders: Vec<_> = history.passed_values().iter().map(|passed| passed.sent).collect();
        for event in shown {
            layout.add(history, event, answer, senders.contains(&event));
        }
        layout
    }

    fn add(&mut self, history: &History<'_>, event: usize, answer: usize, passes_value: bool) {
        let text = wrap_by(mono, &plain(&description(history, event)), CALLS, 5);
        let role = history.events()[event].role;
        let changes = history.changes(event, false);
        let crosses = changes.iter().any(|change| change.tracked && change.role != role);
        let created = history.objects.iter().find(|object| {
            object.handles.first().is_some_and(|handle| history.handles[*handle].opened == event)
        });
        // A handle in the other process is drawn below the arrow to it, and a passed handle value below that handle.
        let below = if crosses { 34 } else { 0 };
        let opened = changes.iter().filter(|change| change.tracked && change.opened).count();
        let chips = opened.saturating_sub(1) * CHIP;
        let below_chip = match created {
            Some(object) if object.name.is_some() => 2 * LINE,
            _ if crosses && passes_value => 34,
            _ => 0,
        };
        let needed = (below + chips + below_chip + 2 * LINE).max(text.len() * LINE + 12);
        let height = if history.shared == Some(event) { answer } else { needed };
        let (top, line) = (self.bottom, self.bottom + ABOVE);
        let chip = line + below;
        self.rows.push(Row { event, role, top, height, line, chip, last_chip: chip + chips, text });
        self.bottom += height;
    }

    pub(crate) fn column(&self, role: Role) -> Column {
        match role {
            Role::Parent => self.parent,
            Role::Child => self.child,
        }
    }

    /// Returns the edge of a process's calls that is nearer to the other process.
    pub(crate) fn inner_edge(&self, role: Role) -> usize {
        match role {
            Role::Parent => self.parent.calls + self.parent.wide,
            Role::Child => self.child.calls,
        }
    }

    pub(crate) fn row(&self, event: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.event == event)
    }

    /// Returns the vertical position of an event: in its row, or above the next row if the event is not shown.
    pub(crate) fn position(&self, event: usize) -> usize {
        let next = self.rows.iter().find(|row| row.event >= event);
        next.map_or(self.bottom, |row| if row.event == event { row.chip } else { row.top })
    }

    /// Returns the vertical position at which a handle is opened. Handles that the same call opens are below one
    /// another.
    pub(crate) fn opening(&self, history: &History<'_>, handle: usize) -> usize {
        let event = history.handles[handle].opened;
        let mut tracked =
            history.traces[event].opened.iter().filter(|opened| history.object_of(**opened).is_some());
        let before = tracked.position(|opened| *opened == handle).unwrap_or_default();
        self.position(event) + before * CHIP
    }

    /// Returns the width of a drawn handle.
    pub(crate) fn chip(&self) -> usize {
        self.lane - 8
    }

    /// Returns the horizontal middle of a handle in its process's table, unless the table has too many handles to draw.
    pub(crate) fn lane(&self, handle: usize, role: Role) -> Option<usize> {
        let lane = self.lanes.get(handle).copied().flatten()?;
        // In both processes, the first handle is next to the calls.
        Some(match role {
            Role::Parent => self.parent.table + lane * self.lane + self.lane / 2,
            Role::Child => {
                (self.child.table + self.child.lanes).saturating_sub(lane * self.lane + self.lane / 2)
            }
        })
    }

    /// Returns the horizontal middle of an object, unless there are too many objects to draw.
    pub(crate) fn object(&self, object: usize) -> Option<usize> {
        let each = self.kernel.1 / self.objects;
        (object < self.objects).then(|| self.kernel.0 + object * each + each / 2)
    }

    /// Returns the maximum width of an object's name.
    pub(crate) fn name_room(&self) -> usize {
        self.kernel.1 / self.objects - 10
    }
}

/// Assigns each tracked handle a lane in its table: the first lane that is free while the handle is open.
fn lanes(history: &History<'_>) -> Vec<Option<usize>> {
    let mut lanes: Vec<Option<usize>> = vec![None; history.handles.len()];
    let mut tracked: Vec<_> =
        history.objects.iter().flat_map(|object| object.handles.iter().copied()).collect();
    tracked.sort_by_key(|handle| history.handles[*handle].opened);
    for handle in tracked {
        let role =
            |handle: usize| history.role_of(history.handles[handle].process, history.handles[handle].opened);
        let taken = |lane: &usize| {
            (0..lanes.len()).any(|other| {
                let overlaps = history.handles[other]
                    .closed
                    .is_none_or(|closed| closed >= history.handles[handle].opened);
                lanes[other] == Some(*lane) && role(other) == role(handle) && overlaps
            })
        };
        lanes[handle] = (0..MAX_DRAWN).find(|lane| !taken(lane));
    }
    lanes
}

fn description(history: &History<'_>, event: usize) -> String {
    match &history.events()[event].data {
        EventData::Call(call) if call.pending => {
            format!("{}({}) waits", call.call, text_width::shorten_paths(&call.arguments))
        }
        EventData::Call(call) => {
            format!("{}({}) = {}", call.call, text_width::shorten_paths(&call.arguments), call.result)
        }
        EventData::Exited { code } => format!("exits with code {code}"),
        EventData::Failed(reason) => format!("fails: {reason}"),
        EventData::Table(_) | EventData::Shared(_) | EventData::Started(_) => String::new(),
    }
}
