//! `handover check`: runs a parent and a child that the user has written, and judges whether they share an event as the
//! exercises ask.

mod case;
mod evidence;
mod exercise;
mod judge;
mod levels;
mod picture;
mod record;
mod remarks;
mod report;
mod requirements;
mod roles;
#[cfg(test)]
mod tests;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use handover::Error;
use handover::inspect::observe::{Action, Change, Step};

use crate::exit::{Stop, WithAdvice, code, not_run, print, print_json, remark};
use crate::os::{end_escaped_processes, prepare_check};
use crate::run::seconds;
use exercise::Exercise;
use judge::{Judgement, Runs, Strategy, Verdict};
use picture::picture;
use record::{Breakage, Ending, Record};
use roles::{EventKey, Roles, signal};
use watch::{Moment, Plan, watch};

const EXAMPLES: &str = "\
Examples:
  handover check inheritance -- ./parent
  handover check duplication --timeout 60 -- python3 parent.py
  handover check naming --json -- target/debug/naming-parent
  handover check two-children --svg run.svg -- ./parent

The parent runs several times under a debugger, with all processes that it starts: once undisturbed, once held at its signal, and three times with something broken; most levels need only the first two runs. Each requirement is judged by what the kernel says. The output of the programs is discarded; --verbose shows that of the first run on standard error.

The exit code is 0 if all requirements hold, 1 if one fails, and 3 if the parent or the child didn't exit in time.";

/// Check a parent and a child of your own: do they share an event as the exercise or level asks?
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The exercise, or one of the levels beyond it
    exercise: Exercise,
    /// Kill all processes of a run after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, default_value = "30")]
    timeout: Duration,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
    /// Draw a picture of the undisturbed run into this SVG file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Show the programs' output of the first run on standard error
    #[arg(long, short)]
    verbose: bool,
    /// The parent, with its arguments
    #[arg(last = true, required = true, value_names = ["PARENT", "ARGS"])]
    command: Vec<OsString>,
}

/// How long a run in which something is broken may take longer than the undisturbed one. A child that hangs is shown and
/// ended after that.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn check(options: &Options) -> Result<(), Stop> {
    prepare_check()?;
    let runs = all_runs(options);
    end_escaped_processes();
    let runs = runs?;
    let judgement = options.exercise.judge(&runs);
    let outcome = if options.json {
        print_json(&report::as_json(options.exercise, &options.command, &judgement))
    } else {
        print_styled(&report::checklist(&judgement))
    };
    match outcome {
        // The exit code tells the result even if the reader of the report has gone.
        Ok(()) | Err(Stop::OutputClosed) => {}
        Err(other) => return Err(other),
    }
    if let Some(path) = &options.svg {
        draw(path, options.exercise, &runs, &judgement)?;
    }
    let has_timed_out = runs.watched.ending != Ending::AllExited
        || runs.held.as_ref().is_some_and(|held| held.ending != Ending::AllExited);
    let holds = judgement.findings.iter().all(|finding| finding.verdict == Verdict::Holds);
    match (has_timed_out, holds) {
        (true, _) => Err(Stop::Exit(code::COMMAND_FAILED.into())),
        (false, false) => Err(Stop::Exit(code::FAILED.into())),
        (false, true) => Ok(()),
    }
}

/// Draws the undisturbed run into a file.
fn draw(path: &Path, exercise: Exercise, runs: &Runs, judgement: &Judgement) -> Result<(), Stop> {
    let holds = judgement.findings.iter().all(|finding| finding.verdict == Verdict::Holds);
    let picture = picture(
        &runs.watched,
        &exercise.sides(&runs.watched),
        &report::title(exercise, judgement),
        &report::failures(judgement),
        !holds,
    );
    let failed = |error| Stop::failed(format_args!("cannot write {path:?}: {error}"));
    std::fs::write(path, picture).map_err(failed)
}

/// Prints a text with styles, which the terminal's settings may remove.
fn print_styled(text: &str) -> Result<(), Stop> {
    let choice = anstream::AutoStream::choice(&std::io::stdout());
    if choice == anstream::ColorChoice::Never {
        print(&anstream::adapter::strip_str(text).to_string())
    } else {
        print(text)
    }
}

/// Makes all runs of the pair.
fn all_runs(options: &Options) -> Result<Runs, Stop> {
    let run = |plan, timeout, shows_output| {
        watch(&options.command, plan, timeout, shows_output).map_err(|error| match error {
            Error::InvalidInput { .. } => Stop::usage(WithAdvice(&error)),
            Error::TimedOut { .. } => Stop::with_code(code::COMMAND_FAILED, WithAdvice(&error)),
            error => not_run(&error),
        })
    };
    let watched = run(Plan::Watch, options.timeout, options.verbose)?;
    let mut runs = Runs { strategy: options.exercise.strategy(), watched, held: None, broken: Vec::new() };
    let Some(found) = options.exercise.roles(&runs.watched) else { return Ok(runs) };
    if options.exercise == Exercise::Abandonment {
        if let Some(plan) = levels::abandonment::plan(&runs.watched) {
            let timeout = options.timeout.min(runs.watched.time + PATIENCE);
            runs.broken.push((Breakage::OwnerKilled, run(plan, timeout, false)?));
        }
        return Ok(runs);
    }
    let Some(object) = found.event else { return Ok(runs) };
    let event = EventKey::of(&runs.watched, object);
    if runs.watched.ending == Ending::AllExited
        && let Some((_, by)) = signal(&runs.watched, &found)
    {
        runs.held = Some(run(Plan::Hold { event, by }, options.timeout, false)?);
    }
    if !options.exercise.breaks_something() {
        return Ok(runs);
    }
    let Some(moment) = moment(runs.strategy, &runs.watched, &found) else { return Ok(runs) };
    let timeout = options.timeout.min(runs.watched.time + PATIENCE);
    for breakage in
        [Breakage::Handle(Change::Close), Breakage::Handle(Change::Replace), Breakage::ParentKilled]
    {
        let by = signal(&runs.watched, &found).map(|(_, by)| by);
        let plan = Plan::Break { event, moment, breakage, by };
        match watch(&options.command, plan, timeout, false) {
            Ok(record) => runs.broken.push((breakage, record)),
            Err(error) => remark(format_args!("a run could not be made: {}", WithAdvice(&error))),
        }
    }
    Ok(runs)
}

/// Returns the moment at which the child has its handle to the event and hasn't used it.
fn moment(strategy: Strategy, record: &Record, roles: &Roles) -> Option<Moment> {
    let (child, event) = (roles.child?, roles.event?);
    let has_row = |index: usize| record.inherited_rows(index, event).next().is_some();
    let programs = record
        .of_process(child)
        .filter(|(index, step)| matches!(step.event.step, Step::Started { .. }) && has_row(*index));
    match (strategy, programs.count()) {
        (Strategy::Inheritance, 0) => None,
        // The last program is the one that uses the handle; a shell may begin before it.
        (Strategy::Inheritance | Strategy::Any, count @ 1..) => {
            Some(Moment::FirstInstruction { after: count - 1 })
        }
        (Strategy::Duplication | Strategy::Naming | Strategy::Any, 0) => {
            let is_opened = |step: &record::Recorded| {
                step.is_about(event)
                    && step.returned().is_some_and(|(call, _)| {
                        matches!(
                            call.action,
                            Action::Open { .. }
                                | Action::Receive { .. }
                                | Action::Duplicate { .. }
                                | Action::Map { .. }
                        )
                    })
            };
            let is_for_child =
                |step: &&record::Recorded| step.given_to().unwrap_or(step.event.process) == child;
            record.steps.iter().filter(is_for_child).any(is_opened).then_some(Moment::Opened)
        }
        (Strategy::Duplication | Strategy::Naming, _) => None,
    }
}
