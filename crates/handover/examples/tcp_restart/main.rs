//! A TCP server that replaces itself with a new version, without refusing or losing one connection.
//!
//! `cargo run -p handover --features serde,tokio --example tcp_restart`
//!
//! `restart.rs` has the messages between the old and the new process, `server.rs` the server, and `connection.rs` the state of a
//! connection. This file plays a client. The guide `docs/restart.md` explains each step.

mod connection;
mod restart;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use handover::process::Command;
use restart::Result;

const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().nth(1).is_some() {
        return server::serve(restart::take_over().await?, new_version).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // The first server gets its socket in the same way as each later one.
    let (child, channel) = restart::start(new_version()).await?;
    restart::hand_over(&channel, &restart::Handed { listener, connections: Vec::new() }).await?;
    drop(channel);
    let mut client = BufReader::new(TcpStream::connect(address)?);
    client.get_ref().set_read_timeout(Some(TIMEOUT))?;
    println!("{}", ask(&mut client, "before the restart")?);
    println!("{}", ask(&mut client, "restart")?);
    let old = format!("process {}:", child.id());
    let asked = Instant::now();
    let mut answer = String::from(&old);
    while answer.starts_with(&old) && asked.elapsed() < TIMEOUT {
        answer = ask(&mut client, "after the restart, on the same connection")?;
    }
    println!("{answer}");
    let mut client = BufReader::new(TcpStream::connect(address)?);
    println!("{}", ask(&mut client, "on a new connection")?);
    ask(&mut client, "stop").map(drop)
}

fn ask(client: &mut BufReader<TcpStream>, request: &str) -> Result<String> {
    writeln!(client.get_mut(), "{request}")?;
    let mut answer = String::new();
    client.read_line(&mut answer)?;
    Ok(answer.trim_end().into())
}

/// The new version of the program. Here it is the same file; an update would have replaced it.
fn new_version() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the system knows this program"));
    command.arg("new-version");
    command
}
