//! What two processes recorded of a hand-over, told as a timeline, as a picture and in a few sentences.
//!
//! Nothing here asks the system for anything: what is told is in the recording.
//!
//! - `recorded`: the lines of a recording; `effects`: what a call did to handle tables, as a line says it;
//! - `story`: which handles refer to one object, and what belongs to the story; `replay` finds the first, and
//!   `crossing` how the object and its number came to the other process;
//! - `text` (with `tables`), `svg`, `summary` (with `hand_over`): the three ways to tell it; `words`: fitting text into a width;
//! - `layout`: where on the picture everything is; `answer` and `ways` are parts of it, and `draw` how it looks.

mod arrows;
mod effects;
mod events;
mod explain;
mod final_tables;
mod layout;
mod object_history;
mod replay;
mod summary;
mod svg;
mod svg_style;
mod tables;
mod text;
mod text_width;
mod transfer;

pub use effects::Effects;
pub use events::{Call, Common, Entry, Event, Holder, Recording, Role, Started, Unreadable, What};
pub use summary::summary;
pub use svg::svg;
pub use text::text;
