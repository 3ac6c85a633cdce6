//! Shows a recording of two processes that share kernel objects: as a timeline, as a picture and as a summary.
//!
//! These modules make no system calls; they show only the contents of the recording.
//!
//! - Reading: `events` parses the lines of a recording; `effects` parses the changes that a call made to handle tables.
//! - Understanding: `replay` finds which handles refer to the same object; `object_history` finds the shared objects
//!   and the events that concern them; `transfer` finds how an object and its handle value got into the other process.
//! - As text: `text` writes the timeline, `tables` both handle tables, and `summary` the sentences, with `explain`.
//! - As a picture: `svg` draws it, with `arrows` and `final_tables`; `layout` computes positions; `svg_style` has shapes
//!   and colors.
//! - Basics: `text_width` fits text into a width, and `styled` has the styles of the terminal.

mod arrows;
mod effects;
mod events;
mod explain;
mod final_tables;
mod layout;
mod object_history;
mod replay;
mod styled;
mod summary;
mod svg;
mod svg_style;
mod tables;
mod text;
mod text_width;
mod transfer;

pub use effects::Effects;
pub use events::{Call, Common, Entry, Event, EventData, Holder, Recording, Role, Started, Unreadable};
pub use summary::summary;
pub use svg::{Panel, panels, svg};
pub use text::text;
