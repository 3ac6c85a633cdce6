//! A broker that introduces two processes to each other and exits. They go on without it.
//!
//! `cargo run -p handover --example broker`
//!
//! The broker starts a client and a service, and has a channel to each. It sends each of them an endpoint of a new channel to
//! the other. The client then calls the service: it sends questions, and gets the reply to each of them.

use std::time::Duration;

use handover::{Channel, Command, Error};

const TIMEOUT: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("client") => client(),
        Some("service") => service(),
        _ => broker(),
    }
}

/// Starts both, introduces them, and exits.
fn broker() -> Result<()> {
    let [client, service] = [start("client")?, start("service")?];
    handover::introduce_timeout(&client, &service, "link", TIMEOUT)?;
    // Each says that it has taken its endpoint. An object in transit is lost if its sender exits too early.
    for channel in [&client, &service] {
        channel.recv_timeout(TIMEOUT)?;
    }
    println!("the broker, process {}, exits", std::process::id());
    Ok(())
}

/// Starts this program in a role, and returns the channel to it.
fn start(role: &str) -> Result<Channel> {
    let mut child = Command::new(std::env::current_exe()?).arg(role).channel().spawn()?;
    Ok(child.take_channel().expect("the command has one"))
}

/// Takes the endpoint that the broker sends, and waits until the broker has exited.
fn introduced() -> Result<Channel> {
    let broker = Channel::parent()?;
    let link = broker.recv_timeout(TIMEOUT)?.take_channel("link")?;
    broker.send("taken")?;
    match broker.recv_timeout(TIMEOUT) {
        Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => Ok(link),
        Err(error) => Err(error.into()),
        Ok(_) => Err("the broker sends nothing more".into()),
    }
}

fn client() -> Result<()> {
    let service = introduced()?;
    for number in 1..=3 {
        let reply = service.call(number.to_string(), TIMEOUT)?;
        println!("{number} squared is {}", String::from_utf8_lossy(reply.bytes()));
    }
    // The system names the process at the other end.
    let peer = service.peer().map_or_else(|| "not known".to_owned(), |peer| peer.id().to_string());
    println!("the service, process {peer}, has replied to process {}", std::process::id());
    Ok(())
}

fn service() -> Result<()> {
    let client = introduced()?;
    loop {
        let question = match client.recv_timeout(TIMEOUT) {
            Ok(message) => message,
            Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let number: u32 = std::str::from_utf8(question.bytes())?.parse()?;
        question.reply((number * number).to_string())?;
    }
}
