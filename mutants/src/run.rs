//! Runs tests one by one, each under a deadline.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::System;

/// A test is given this much more than it has taken in the unbroken library.
const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub(crate) struct Test {
    /// The program's place in the list of programs.
    pub(crate) program: usize,
    pub(crate) name: String,
    /// Whether it is one of the library's own, which std's harness runs.
    pub(crate) is_unit: bool,
    pub(crate) took: Duration,
    pub(crate) reaches: BTreeSet<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Badly,
    Never,
}

/// One of those who run tests at the same time: has its own copies of the programs, which say which mutant is on.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) folder: PathBuf,
    pub(crate) programs: Vec<PathBuf>,
    /// Where the tests of the library itself and the others are run.
    pub(crate) homes: [PathBuf; 2],
    pub(crate) system: System,
}

impl Worker {
    pub(crate) fn new(
        folder: PathBuf,
        programs: &[PathBuf],
        homes: [PathBuf; 2],
        system: System,
    ) -> Result<Self, String> {
        let failed = |error| format!("{}: {error}", folder.display());
        let copies = folder.join("programs");
        let _ = fs::remove_dir_all(&copies);
        fs::create_dir_all(&copies).map_err(failed)?;
        let mut linked = Vec::new();
        for program in programs {
            let copy = copies.join(program.file_name().unwrap_or_default());
            fs::hard_link(program, &copy).map_err(failed)?;
            linked.push(copy);
        }
        let worker = Self { folder, programs: linked, homes, system };
        worker.begin_wine()?;
        Ok(worker)
    }

    fn wine(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("WINEPREFIX", self.folder.join("wine")).env("WINEDEBUG", "-all");
        command.env("WINEDLLOVERRIDES", "mscoree,mshtml=");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn begin_wine(&self) -> Result<(), String> {
        if self.system == System::Wine {
            let prefix = self.folder.join("wine");
            fs::create_dir_all(&prefix).map_err(|error| format!("{}: {error}", prefix.display()))?;
            let _ = self.wine("wineserver").arg("--persistent").status();
            let _ = self.wine("wineboot").arg("--init").status();
        }
        Ok(())
    }

    /// Ends what a test has left, and begins anew.
    pub(crate) fn renew(&self) {
        self.end();
        let _ = self.begin_wine();
    }

    pub(crate) fn end(&self) {
        if self.system == System::Wine {
            let _ = self.wine("wineserver").arg("-k").status();
            let _ = self.wine("wineserver").arg("-w").status();
        }
    }

    fn command(&self, program: usize, is_unit: bool) -> Command {
        let path = &self.programs[program];
        let mut command = match self.system {
            System::Linux => Command::new(path),
            System::Wine => {
                let mut wine = self.wine("wine");
                wine.arg(path);
                wine
            }
        };
        command.current_dir(&self.homes[usize::from(!is_unit)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The names of a program's tests.
    pub(crate) fn list(&self, program: usize, is_unit: bool) -> Result<Vec<String>, String> {
        let mut command = self.command(program, is_unit);
        let output =
            command.arg("--list").stdout(Stdio::piped()).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.trim().strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs a test while a mutant is on; notes which mutants it comes by, if it is told where.
    pub(crate) fn run(&self, test: &Test, mutant: usize, seen: Option<&Path>) -> (Ended, Duration) {
        let seen = seen.map_or_else(String::new, |path| match self.system {
            System::Linux => format!("|{}", path.display()),
            System::Wine => format!("|Z:{}", path.display()),
        });
        let said = format!("{mutant}{seen}");
        let _ = fs::write(self.folder.join("programs/mutant.txt"), &said);
        let mut command = self.command(test.program, test.is_unit);
        command.arg(if test.is_unit { "--exact" } else { "--run-one-test" }).arg(&test.name);
        command.env("HANDOVER_MUTANT", &said).process_group(0);
        let started = Instant::now();
        let deadline = GRACE + test.took * 4;
        let Ok(mut child) = command.spawn() else { return (Ended::Badly, Duration::ZERO) };
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let mut pause = Duration::from_millis(1);
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break Ended::Well,
                Ok(Some(_)) | Err(_) => break Ended::Badly,
                Ok(None) if started.elapsed() > deadline => break Ended::Never,
                Ok(None) => {}
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        // Whatever it has left, of its own group alone.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
        if ended == Ended::Never {
            self.renew();
        }
        (ended, started.elapsed())
    }
}
