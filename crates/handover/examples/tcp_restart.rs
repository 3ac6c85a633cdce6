//! A TCP server that replaces itself with a new version, without refusing one connection.
//!
//! `cargo run -p handover --example tcp_restart`
//!
//! The new version inherits the listening socket. A connection that arrives during the restart waits in the socket's
//! queue, which belongs to the socket and not to a process.
//!
//! This runs on Linux. On Windows, sockets can't travel yet: a socket there is more than its handle, and this crate
//! returns `Error::SocketUnsupported`.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::main()
}

#[cfg(windows)]
fn main() {
    println!("this example needs Linux: sockets can't travel on Windows yet");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    use handover::{Command, Event};

    const TIMEOUT: Duration = Duration::from_secs(5);

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    pub(super) fn main() -> Result<()> {
        match std::env::args().nth(1).as_deref() {
            Some("new-version") => new_version(),
            _ => old_version(),
        }
    }

    /// Opens the socket, serves, and hands the socket on to the new version. It also plays the clients.
    fn old_version() -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let before = TcpStream::connect(address)?;
        serve_one(&listener, "the old version")?;
        println!("before the restart: {}", answer(before)?);

        // No process accepts connections now, and this one succeeds.
        let during = TcpStream::connect(address)?;

        let serving = Event::manual_reset()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("new-version").inherit("listener", &listener).inherit("serving", &serving);
        let mut child = command.spawn()?;
        // If the new version fails to start, the old one still has the socket and could go on.
        serving.wait_timeout(TIMEOUT)?;
        drop(listener);
        println!("during the restart: {}", answer(during)?);
        println!("after the restart: {}", answer(TcpStream::connect(address)?)?);

        // A real server would exit here, and leave the child running.
        println!("the new version exited with {}", child.wait_timeout(TIMEOUT)?);
        Ok(())
    }

    /// Takes the socket from its parent. With the same line it takes one from systemd, which names it with
    /// `FileDescriptorName=listener`.
    fn new_version() -> Result<()> {
        let inherited = handover::inherited()?;
        let listener: TcpListener = inherited.take("listener")?;
        inherited.take::<Event>("serving")?.set()?;
        for _ in 0..2 {
            serve_one(&listener, "the new version")?;
        }
        Ok(())
    }

    fn serve_one(listener: &TcpListener, version: &str) -> Result<()> {
        let (mut client, _) = listener.accept()?;
        write!(client, "process {} answers as {version}", std::process::id())?;
        Ok(())
    }

    fn answer(mut server: TcpStream) -> Result<String> {
        let mut text = String::new();
        server.set_read_timeout(Some(TIMEOUT))?;
        server.read_to_string(&mut text)?;
        Ok(text)
    }
}
