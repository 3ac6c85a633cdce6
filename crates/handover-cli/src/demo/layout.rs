//! Where everything is on the picture: columns from left to right, rows of time from top to bottom.

use super::events::{Role, What};
use super::object_history::Story;
use super::svg_style::{LINE, mono};
use super::text_width::{self, plain, wrap_by};

/// Left and right of everything.
pub(crate) const MARGIN: usize = 20;
/// How wide the calls of one process are.
const CALLS: usize = 268;
/// Between calls and handle table, where arrows turn.
const GAP: usize = 20;
/// More than these aren't drawn: handles of a process at one time, and objects.
const MOST: usize = 5;
/// From one handle to the next that the same call opens.
const CHIP: usize = 26;
/// Above the first line of a row.
const ABOVE: usize = 18;

/// All places.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) width: usize,
    /// Right edge of the times.
    pub(crate) time: usize,
    pub(crate) parent: Column,
    pub(crate) child: Column,
    /// The kernel's column: its left edge, and its width.
    pub(crate) kernel: (usize, usize),
    pub(crate) rows: Vec<Row>,
    /// Below the last row.
    pub(crate) bottom: usize,
    lane: usize,
    lanes: Vec<Option<usize>>,
    objects: usize,
}

/// What is of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Left edge of its calls.
    pub(crate) calls: usize,
    /// Their width.
    pub(crate) wide: usize,
    /// Left edge of its handle table.
    pub(crate) table: usize,
    /// The table's width.
    pub(crate) lanes: usize,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) event: usize,
    pub(crate) role: Role,
    pub(crate) top: usize,
    pub(crate) height: usize,
    /// The middle of the first line, at which arrows leave and arrive.
    pub(crate) line: usize,
    /// The middle of the first handle that it opens, and of those that it closes.
    pub(crate) chip: usize,
    /// The middle of the last one that it opens.
    pub(crate) last_chip: usize,
    /// What happened, in lines.
    pub(crate) text: Vec<String>,
}

impl Layout {
    /// Rows begin at `top`; the row of the kernel's answer is `answer` high.
    pub(crate) fn of(story: &Story<'_>, top: usize, answer: usize) -> Self {
        let shown: Vec<_> = (0..story.events().len()).filter(|event| story.belongs(*event)).collect();
        let lanes = lanes(story);
        let count = |role| {
            let of = |index: &usize| {
                story.role_of(story.handles[*index].process, story.handles[*index].opened) == role
            };
            let taken = (0..lanes.len()).filter(of).filter_map(|index| lanes[index]);
            taken.max().map_or(1, |most| most + 1)
        };
        let values = story.objects.iter().flat_map(|object| &object.handles);
        let widest = values.map(|handle| mono(&format!("{:#x}", story.handles[*handle].value))).max();
        let lane = widest.unwrap_or_default().max(30) + 18;
        let objects = story.objects.len().clamp(1, MOST);
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
        let told: Vec<_> = story.told().iter().map(|told| told.said).collect();
        for event in shown {
            layout.add(story, event, answer, told.contains(&event));
        }
        layout
    }

    fn add(&mut self, story: &Story<'_>, event: usize, answer: usize, told: bool) {
        let text = wrap_by(mono, &plain(&happening(story, event)), CALLS, 5);
        let role = story.events()[event].role;
        let changes = story.changes(event, false);
        let crosses = changes.iter().any(|change| change.ours && change.role != role);
        let born = story.objects.iter().find(|object| {
            object.handles.first().is_some_and(|handle| story.handles[*handle].opened == event)
        });
        // Below an arrow to the other process is what it carries there, and below that a number that it tells.
        let below = if crosses { 34 } else { 0 };
        let opened = changes.iter().filter(|change| change.ours && change.opened).count();
        let chips = opened.saturating_sub(1) * CHIP;
        let below_chip = match born {
            Some(object) if object.name.is_some() => 2 * LINE,
            _ if crosses && told => 34,
            _ => 0,
        };
        let needed = (below + chips + below_chip + 2 * LINE).max(text.len() * LINE + 12);
        let height = if story.shared == Some(event) { answer } else { needed };
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

    /// The edge of a process's calls that is nearer to the other one.
    pub(crate) fn inner_edge(&self, role: Role) -> usize {
        match role {
            Role::Parent => self.parent.calls + self.parent.wide,
            Role::Child => self.child.calls,
        }
    }

    pub(crate) fn row(&self, event: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.event == event)
    }

    /// Where something that happened stands: in its row, or above the next one that is shown.
    pub(crate) fn place(&self, event: usize) -> usize {
        let next = self.rows.iter().find(|row| row.event >= event);
        next.map_or(self.bottom, |row| if row.event == event { row.chip } else { row.top })
    }

    /// Where a handle is opened; those of one call stand below one another, and so do the lines from them.
    pub(crate) fn opening(&self, story: &Story<'_>, handle: usize) -> usize {
        let event = story.handles[handle].opened;
        let mut ours = story.traces[event].opened.iter().filter(|opened| story.object_of(**opened).is_some());
        let before = ours.position(|opened| *opened == handle).unwrap_or_default();
        self.place(event) + before * CHIP
    }

    /// How wide a handle is drawn.
    pub(crate) fn chip(&self) -> usize {
        self.lane - 8
    }

    /// The middle of a handle's place in its process's table, unless there are too many.
    pub(crate) fn lane(&self, handle: usize, role: Role) -> Option<usize> {
        let lane = self.lanes.get(handle).copied().flatten()?;
        // The first is next to the calls, on either side.
        Some(match role {
            Role::Parent => self.parent.table + lane * self.lane + self.lane / 2,
            Role::Child => {
                (self.child.table + self.child.lanes).saturating_sub(lane * self.lane + self.lane / 2)
            }
        })
    }

    /// The middle of an object, unless there are too many.
    pub(crate) fn object(&self, object: usize) -> Option<usize> {
        let each = self.kernel.1 / self.objects;
        (object < self.objects).then(|| self.kernel.0 + object * each + each / 2)
    }

    /// How wide an object's name may be.
    pub(crate) fn name_room(&self) -> usize {
        self.kernel.1 / self.objects - 10
    }
}

/// For each handle of the story its place in the table: the first one that is free while it is open.
fn lanes(story: &Story<'_>) -> Vec<Option<usize>> {
    let mut lanes: Vec<Option<usize>> = vec![None; story.handles.len()];
    let mut ours: Vec<_> = story.objects.iter().flat_map(|object| object.handles.iter().copied()).collect();
    ours.sort_by_key(|handle| story.handles[*handle].opened);
    for handle in ours {
        let role = |handle: usize| story.role_of(story.handles[handle].process, story.handles[handle].opened);
        let taken = |lane: &usize| {
            (0..lanes.len()).any(|other| {
                let overlaps =
                    story.handles[other].closed.is_none_or(|closed| closed >= story.handles[handle].opened);
                lanes[other] == Some(*lane) && role(other) == role(handle) && overlaps
            })
        };
        lanes[handle] = (0..MOST).find(|lane| !taken(lane));
    }
    lanes
}

fn happening(story: &Story<'_>, event: usize) -> String {
    match &story.events()[event].what {
        What::Call(call) => {
            format!("{}({}) = {}", call.call, text_width::brief(&call.arguments), call.result)
        }
        What::Ended { code } => format!("ends with code {code}"),
        What::Failed(why) => format!("fails: {why}"),
        What::Table(_) | What::Shared(_) | What::Started(_) => String::new(),
    }
}
