//! Children in other languages: a Python program signals an event, and a shell script writes to an open file.
//!
//! `cargo run -p handover --example foreign_children`
//!
//! Programs that don't use this crate can't take objects by name. `Command::arg_handle` puts the handle value into an
//! argument, and `Command::env_handle` into an environment variable.
//!
//! This runs on Linux, where both languages use descriptors by number. On Windows the same two methods pass handle
//! values to programs in C or C#; Python needs `msvcrt.open_osfhandle` there, and `cmd.exe` can't use handles.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::main()
}

#[cfg(windows)]
fn main() {
    println!("this example needs Linux: its shell script uses descriptors by number");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::{Read, Seek};
    use std::time::Duration;

    use handover::{Command, Error, Event};

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Signals the event, which is an eventfd: adding 1 to its count sets it.
    const PYTHON: &str = "
import os, sys
os.write(int(sys.argv[1]), (1).to_bytes(8, sys.byteorder))
print('Python: set the event with descriptor', sys.argv[1], flush=True)
";

    /// Writes to the file, whose number is in a variable. `/dev/fd` works for numbers of any length, `>&` may not.
    const SHELL: &str = "
echo 'a line from the shell' >> /dev/fd/$REPORT
echo \"shell: wrote to descriptor $REPORT\"
";

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    pub(super) fn main() -> Result<()> {
        python()?;
        shell()
    }

    fn python() -> Result<()> {
        let event = Event::manual_reset()?;
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON]).inherit("event", &event).arg_handle("{event}").kill_on_drop(true);
        let mut child = match command.spawn() {
            Err(Error::ProgramNotFound { .. }) => {
                println!("python3 is not installed here");
                return Ok(());
            }
            spawned => spawned?,
        };
        let status = child.wait_timeout(TIMEOUT)?;
        event.wait_timeout(TIMEOUT)?;
        println!("Python exited with {status}, and the event is set");
        Ok(())
    }

    fn shell() -> Result<()> {
        let path = std::env::temp_dir().join(format!("handover-example.{}", std::process::id()));
        let mut report = File::options().read(true).append(true).create_new(true).open(&path)?;
        let mut command = Command::new("sh");
        command.args(["-c", SHELL]).inherit("report", &report).env_handle("REPORT", "{report}");
        let status = command.kill_on_drop(true).spawn()?.wait_timeout(TIMEOUT)?;
        let mut text = String::new();
        report.rewind()?;
        report.read_to_string(&mut text)?;
        std::fs::remove_file(path)?;
        println!("sh exited with {status}, and the file has {text:?}");
        Ok(())
    }
}
