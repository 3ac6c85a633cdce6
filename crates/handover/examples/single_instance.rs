//! A program that runs once per user: a second start passes its command line to the running instance and exits.
//!
//! `cargo run -p handover --example single_instance`
//!
//! Without arguments, the example plays the user, who starts the program three times.

use std::time::{Duration, Instant};

use handover::{Channel, Command, Error, Event, Listener, SingleInstance};

const TIMEOUT: Duration = Duration::from_secs(5);
/// The argument that ends the running instance.
const QUIT: &str = "--quit";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [name, arguments @ ..] => program(name, arguments),
        [] => user(),
    }
}

/// The program. A real one has a fixed name, such as "my-app".
fn program(name: &str, arguments: &[String]) -> Result<()> {
    match SingleInstance::acquire(name) {
        // The guard keeps the name until the instance has returned. After a crash, the system releases the name.
        Ok(_guard) => instance(name, arguments),
        Err(Error::AlreadyRunning { .. }) => forward(name, arguments),
        Err(error) => Err(error.into()),
    }
}

/// The first start: opens what its own command line says, and then what those of later starts say.
fn instance(name: &str, arguments: &[String]) -> Result<()> {
    let mut listener = Listener::bind(name)?;
    println!("process {} runs, and opens {arguments:?}", std::process::id());
    // The example's user waits for this event. A program that a real user starts inherits none.
    if let Ok(inherited) = handover::inherited() {
        inherited.take::<Event>("running")?.set()?;
    }
    loop {
        // A client that fails must not end this process, so its errors are printed and the loop goes on.
        match serve(listener.accept_timeout(TIMEOUT)?) {
            Ok(line) if line == [QUIT] => return Ok(()),
            Ok(line) => println!("process {} opens {line:?}", std::process::id()),
            Err(error) => eprintln!("a client failed: {error}"),
        }
    }
}

fn serve(incoming: handover::Incoming<'_>) -> Result<Vec<String>> {
    // Only processes of this user can connect.
    let channel = incoming.accept()?;
    let message = channel.recv_timeout(TIMEOUT)?;
    let line = std::str::from_utf8(message.bytes())?.split('\0').map(str::to_owned).collect();
    let answer = format!("process {} has it", std::process::id());
    channel.send_timeout(answer.as_bytes(), TIMEOUT)?;
    Ok(line)
}

/// A later start: passes its command line to the running instance, and waits for the answer.
fn forward(name: &str, arguments: &[String]) -> Result<()> {
    let started = Instant::now();
    let channel = loop {
        match Channel::connect_timeout(name, TIMEOUT) {
            // The instance has acquired its name and doesn't listen yet.
            Err(Error::NoListener { .. }) if started.elapsed() < TIMEOUT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            connected => break connected?,
        }
    };
    channel.send_timeout(arguments.join("\0").as_bytes(), TIMEOUT)?;
    let answer = channel.recv_timeout(TIMEOUT)?;
    let answer = String::from_utf8_lossy(answer.bytes());
    println!("process {} has passed on {arguments:?}: {answer}", std::process::id());
    Ok(())
}

/// The user: starts the program, starts it again with a file, and ends it.
fn user() -> Result<()> {
    // Two users of this example at the same time have different names.
    let name = format!("handover-example.{}", std::process::id());
    let program = std::env::current_exe()?;
    let running = Event::manual_reset()?;
    let mut command = Command::new(&program);
    let mut first = command.arg(&name).inherit("running", &running).kill_on_drop(true).spawn()?;
    running.wait_timeout(TIMEOUT)?;
    for argument in ["report.txt", QUIT] {
        let mut later = Command::new(&program).args([&name, argument]).kill_on_drop(true).spawn()?;
        println!("a later start exited with {}", later.wait_timeout(TIMEOUT)?);
    }
    println!("the first start exited with {}", first.wait_timeout(TIMEOUT)?);
    Ok(())
}
