//! A tokio server in which each client has a task and a worker process. One client's request crashes its worker; that client
//! gets an answer too, and the others notice nothing.
//!
//! `cargo run -p handover --features tokio --example tokio_server`

use std::time::Duration;

use handover::tokio::{Channel, Child, Listener};
use handover::{Command, Message, ReceivedMessage, SharedMemory};
use tokio::time::timeout;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SECONDS_5: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker"] => work().await,
        ["client", name, text] => ask(name, text).await,
        _ => serve().await,
    }
}

/// Serves until each client has its answer.
async fn serve() -> Result<()> {
    let name = format!("tokio-server.{}", std::process::id());
    let mut listener = Listener::bind(&name)?;
    let mut clients = Vec::new();
    for text in ["one", "three", "crash", "five"] {
        let program = std::env::current_exe()?;
        clients.push(Child::from(Command::new(program).args(["client", &name, text]).spawn()?));
    }
    let mut tasks = Vec::new();
    for _ in &clients {
        let channel = timeout(SECONDS_5, listener.accept()).await??.accept().await?;
        tasks.push(tokio::spawn(async move { serve_client(&channel).await }));
    }
    for task in tasks {
        task.await??;
    }
    for mut client in clients {
        timeout(SECONDS_5, client.wait()).await??;
    }
    Ok(())
}

/// Answers one client, by a worker of its own.
async fn serve_client(channel: &Channel) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut worker = Child::from(command.arg("worker").channel().kill_on_drop(true).spawn()?);
    let to_worker = worker.take_channel().expect("the command has a channel");
    let request = timeout(SECONDS_5, channel.recv()).await??;
    // The text travels in shared memory, which the worker may only read.
    let memory = SharedMemory::new(request.bytes().len())?;
    memory.view_mut()?.write_at(0, request.bytes())?;
    let measure = to_worker.call(Message::new("measure").with("text", memory.read_only()));
    let answer = match timeout(SECONDS_5, measure).await? {
        Ok(answer) => text_of(&answer),
        Err(error) => format!("not done: {error}"),
    };
    Ok(channel.reply(&request, answer).await?)
}

/// The worker: measures texts until its parent closes the channel.
async fn work() -> Result<()> {
    let channel = Channel::from(handover::Channel::parent()?);
    while let Ok(request) = channel.recv().await {
        let text = request.take::<SharedMemory>("text")?.view()?.to_vec();
        if text.starts_with(b"crash") {
            std::process::exit(70);
        }
        // The memory's size is rounded up to whole pages.
        let letters = text.iter().filter(|byte| **byte != 0).count();
        channel.reply(&request, format!("{letters} letters")).await?;
    }
    Ok(())
}

/// A client: asks once, and prints the answer.
async fn ask(name: &str, text: &str) -> Result<()> {
    let channel = timeout(SECONDS_5, Channel::connect(name)).await??;
    let reply = timeout(SECONDS_5, channel.call(text)).await??;
    println!("{text}: {}", text_of(&reply));
    Ok(())
}

fn text_of(message: &ReceivedMessage) -> String {
    String::from_utf8_lossy(message.bytes()).into_owned()
}
