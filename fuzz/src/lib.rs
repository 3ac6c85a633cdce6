//! The fuzz targets: each calls a pure part of the library with arbitrary input, and checks the rules that must hold
//! for it.
//!
//! `cargo xtask fuzz --quick wire` lets libFuzzer search for an input that breaks a rule. `tests/tests/fuzz_corpus.rs`
//! runs the same functions without the fuzzer on each system, with the inputs that the fuzzer found before.
//!
//! | target | input | rules |
//! |---|---|---|
//! | `wire` | a frame, and a listener's answer | exactly the input that the format's description allows is accepted; writing the accepted message gives the same bytes |
//! | `message` | a message | a message that fits into a frame is read as it was written; with one byte changed, it is another message or an error |
//! | `manifest` | a variable, or a list of objects; a service manager's variables | exactly the text that the description allows is accepted; each object has a name, and no object is listed twice |
//! | `number` | text, a line, a number | NULL, `INVALID_HANDLE_VALUE`, pseudo handles and numbers of more than 32 bits are never accepted; all other valid numbers are |
//! | `command_line` | arguments | both of Windows' parsers, written here from their descriptions, read the arguments that were passed |
//! | `environment` | changes, or a block | the block is sorted, has each name once with its last value, and ends with two NULs |
//! | `name` | two names | each has its own pipe and files; the files stay in their folder, and no name exceeds its maximum length |
//! | `typed` | a message | exactly the values that postcard's description allows are accepted, if each object is used once; what is sent again means the same; no handle is left |
//! | `template` | text with placeholders | each placeholder is replaced by its handle value, and the other text stays |

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
mod typed;
mod wire;

pub use argv::argv_reads_as_it_is_described;
pub use command_line::command_line;
pub use environment::environment;
pub use manifest::manifest;
pub use message::message;
pub use name::name;
pub use number::number;
pub use template::template;
pub use typed::typed;
pub use wire::wire;
