//! What is done to each pure part of the library, and what has to hold whatever comes.
//!
//! `cargo xtask fuzz --quick wire` lets libFuzzer look for the input that breaks one of them. `tests/tests/fuzz_corpus.rs` has
//! the same functions, and runs them on what was found before, on every system and without the fuzzer.
//!
//! | target | what comes | what has to hold |
//! |---|---|---|
//! | `wire` | a frame, and a listener's answer | what the format's description lets in is let in, and nothing else; what is let in is what would be written |
//! | `message` | a message | what a frame can hold is read as it was written, with a byte changed it is another message or none |
//! | `manifest` | a variable, or a list of objects; a service manager's variables | the same; no object without a name, none twice |
//! | `number` | text, a line, a number | NULL, `INVALID_HANDLE_VALUE`, pseudo handles and more than 32 bits never come through; what is a number does |
//! | `command_line` | arguments | both of Windows' parsers, written here from their description, read what was passed |
//! | `environment` | changes, or a block | sorted, each name once, the last value; ends twice |
//! | `name` | two names | each has its own pipe and files, which stay in their folder and within their lengths |
//! | `template` | text with names in it | each name becomes its number, and all else stays |

mod argv;
mod command_line;
mod environment;
mod input;
mod manifest;
mod message;
mod name;
mod number;
mod os;
mod template;
mod wire;

pub use argv::argv_reads_as_it_is_described;
pub use command_line::command_line;
pub use environment::environment;
pub use manifest::manifest;
pub use message::message;
pub use name::name;
pub use number::number;
pub use template::template;
pub use wire::wire;
