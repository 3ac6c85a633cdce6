//! A host that runs plug-ins which it doesn't trust, each in a process of its own.
//!
//! `cargo run -p handover --example plugin_host`
//!
//! 1. The plug-in gets its channel to the host, an empty environment, and no other object.
//! 2. It gets the least access: it can read the document, and can't write it.
//! 3. The host lets in objects of one kind only, and checks all that it receives.
//! 4. Each wait has a timeout, and a plug-in that misses one is killed.
//!
//! This limits the handles of a plug-in, and not the files and the network that its user can access, nor on Linux the
//! reopening of a descriptor in `/proc`. That takes a sandbox of the system, such as an `AppContainer` or a namespace.

use std::time::Duration;

use handover::{Channel, Command, Message, ObjectKind, SharedMemory, Stdio};

/// The time that a plug-in has to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
const DOCUMENT: &[u8] = b"a small document of several words";
/// The longest result that the host accepts, in bytes.
const LONGEST_RESULT: usize = 4096;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => host(),
        Some(plugin) => run_plugin(plugin),
    }
}

/// The host: runs each plug-in on the document, and goes on after its failure.
fn host() -> Result<()> {
    let document = SharedMemory::new(DOCUMENT.len())?;
    document.view_mut()?.write_at(0, DOCUMENT)?;
    for plugin in ["counts-words", "writes", "sends-a-file", "hangs"] {
        match use_plugin(plugin, &document) {
            Ok(result) => println!("{plugin}: {result:?}"),
            Err(error) => println!("{plugin}: {error}"),
        }
    }
    Ok(())
}

fn use_plugin(plugin: &str, document: &SharedMemory) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(plugin).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
    // `race_free` keeps the plug-in's handles out of processes that other threads start. Returning from this function,
    // with or without an error, drops the child and so kills it.
    let mut child = command.channel().race_free().kill_on_drop(true).kill_with_parent(true).spawn()?;
    let channel = child.take_channel().expect("the command has one");
    channel.allow_only([ObjectKind::SharedMemory]);

    let length = DOCUMENT.len().to_string();
    let message = Message::new(length.as_bytes()).with("document", document.read_only());
    channel.send_timeout(message, TIMEOUT)?;
    let answer = channel.recv_timeout(TIMEOUT)?;
    let result: SharedMemory = answer.take("result")?;

    // The numbers of a plug-in are checked before they are used.
    let length: usize = std::str::from_utf8(answer.bytes())?.parse()?;
    if length > LONGEST_RESULT {
        return Err(format!("the result has {length} bytes; the host accepts {LONGEST_RESULT}").into());
    }
    // The copy can't change any more, while the plug-in could still write to the memory.
    let mut copy = vec![0; length];
    result.view_range(0, length)?.read_at(0, &mut copy)?;
    Ok(String::from_utf8(copy)?)
}

/// The plug-ins, of which one is well-behaved.
fn run_plugin(plugin: &str) -> Result<()> {
    let channel = Channel::parent()?;
    let message = channel.recv_timeout(TIMEOUT)?;
    let document: SharedMemory = message.take("document")?;
    let length: usize = std::str::from_utf8(message.bytes())?.parse()?;
    let mut text = vec![0; length];
    document.view_range(0, length)?.read_at(0, &mut text)?;

    let result = match plugin {
        "writes" => match document.view_mut() {
            Ok(_) => "this plug-in can write the document".to_owned(),
            Err(error) => format!("this plug-in can't write: {error}"),
        },
        "sends-a-file" => {
            let file = std::fs::File::open(std::env::current_exe()?)?;
            channel.send(Message::new(b"1").with("result", &file))?;
            return Ok(channel.flush(TIMEOUT)?);
        }
        // The host sends no second message.
        "hangs" => String::from_utf8(channel.recv()?.into_bytes())?,
        _ => format!("{} words", text.split(|byte| *byte == b' ').count()),
    };
    let memory = SharedMemory::new(result.len())?;
    memory.view_mut()?.write_at(0, result.as_bytes())?;
    channel.send(Message::new(result.len().to_string().into_bytes()).with("result", &memory))?;
    // The host fetches the object when it receives the message, so this process must not exit before.
    Ok(channel.flush(TIMEOUT)?)
}
