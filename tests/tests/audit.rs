//! Tests of audits: the inherited handles of each process in a program's tree, and which of them leaked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use handover::inspect::{Audit, AuditedProcess, HandleEntry, Origin};
use handover::{Error, Event, ObjectKind};
use handover_tests::{audit, in_role_of_std, raw, role, settled, table, tests, this_program, until};

const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            audit_of_program_without_leaks_is_clean,
            audit_reports_leaks_from_auditing_process,
            audit_reports_leaks_in_child,
            audit_can_ignore_what_this_process_had_inherited,
            audit_of_exact_list_is_clean,
            manifest_of_another_process_does_not_explain_handles,
            audit_reports_leaks_in_each_generation,
            audit_distinguishes_children_of_two_threads,
            audit_handles_children_killed_at_start,
            audited_process_is_stopped_while_watched,
            audit_fails_if_program_is_missing,
            audit_rejects_piped_streams,
            timed_out_audit_leaves_no_process_or_handle,
            panicking_watcher_leaves_no_process_or_handle,
            killed_auditor_leaves_no_process,
            audited_program_has_same_exit_status,
            audited_program_has_same_output,
            audit_ignores_other_children,
            audit_leaks_no_handles,
            concurrent_audits_are_independent,
            audit_starts_the_crates_own_commands,
            audit_collects_the_output,
            audit_reports_commands_that_it_cannot_use,
        ],
        tests![
            exits,
            sleeps,
            leaks_to_a_child,
            passes_event_to_a_child,
            copies_its_environment,
            has_descendants,
            starts_from_two_threads,
            kills_children_at_once,
            has_a_sleeping_child,
            audits_a_sleeping_child,
            exits_as_argument_says,
            writes_output,
            takes_ready,
            writes_to_both_streams,
            says_more,
        ],
    )
}

fn leaked_kinds(started: &AuditedProcess) -> Vec<ObjectKind> {
    started.leaks().map(|leak| leak.kind().unwrap().clone()).collect()
}

fn exits(_: &[String]) {}

fn sleeps(_: &[String]) {
    std::thread::sleep(LONG);
}

/// Creates an event that leaks into each child that is spawned by other means from now on.
fn leaking() -> Event {
    let event = Event::manual_reset().unwrap();
    table::make_inheritable(&event);
    event
}

fn run_to_its_end(command: &mut Command) {
    assert_eq!(command.status().unwrap().code(), Some(0));
}

fn audit_of_program_without_leaks_is_clean() {
    table::keep_what_came();
    let audit = audit("exits", &[]);
    assert!(audit.is_clean(), "{audit}");
    let [only] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!(only.parent, std::process::id());
    assert_eq!(
        only.program.as_deref().unwrap().canonicalize().unwrap(),
        this_program().canonicalize().unwrap()
    );
    let streams = only.handles.iter().filter(|(_, origin)| *origin == Origin::Stream).count();
    assert_eq!(streams, 3, "{audit}");
}

fn audit_reports_leaks_from_auditing_process() {
    table::keep_what_came();
    let objects = raw::objects();
    objects.iter().for_each(|(_, object, _)| table::make_inheritable(object));
    let audit = audit("exits", &[]);
    let found: Vec<_> =
        audit.leaks().map(|(_, leak)| (leak.value().get(), leak.kind().unwrap().clone())).collect();
    let mut expected: Vec<_> =
        objects.iter().map(|(_, object, kind)| (table::value(object), kind.clone())).collect();
    expected.sort_unstable_by_key(|(value, _)| *value);
    assert_eq!(found, expected, "{audit}");
    assert!(
        audit.leaks().all(|(started, leak)| started.parent == std::process::id() && leak.is_inheritable())
    );
    assert!(!audit.is_clean());
}

fn audit_can_ignore_what_this_process_had_inherited() {
    table::keep_what_came();
    let _event = leaking();
    let run = |audit: Audit<'_>| audit.run(LONG).unwrap();
    let counted = run(Audit::new(in_role_of_std("exits", &[])));
    assert_eq!(counted.leaks().count(), 1, "{counted}");
    let ignored = run(Audit::new(in_role_of_std("exits", &[])).ignore_inherited());
    assert!(ignored.is_clean(), "{ignored}");
    assert!(ignored.processes[0].handles.iter().any(|(_, origin)| *origin == Origin::OfAuditor), "{ignored}");
    assert!(ignored.to_string().contains("1 that the auditing process had inherited"), "{ignored}");
    // The program's own leaks still count.
    let own = run(Audit::new(in_role_of_std("leaks_to_a_child", &[])).ignore_inherited());
    assert_eq!(own.leaks().count(), 1, "{own}");
}

/// The leak of rust-lang/rust#38227.
fn leaks_to_a_child(_: &[String]) {
    let _event = leaking();
    run_to_its_end(&mut in_role_of_std("exits", &[]));
}

fn audit_reports_leaks_in_child() {
    table::keep_what_came();
    let audit = audit("leaks_to_a_child", &[]);
    let [command, child] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!((command.leaks().count(), leaked_kinds(child)), (0, vec![ObjectKind::Event]), "{audit}");
    assert_eq!(child.parent, command.id);
    let text = audit.to_string();
    assert!(text.starts_with("1 handle leaked into 2 processes\n"), "{text}");
    let value = child.leaks().next().unwrap().value();
    assert!(text.contains(&format!("\n  leaked: {value:#x}, an event")), "{text}");
}

/// Spawns the same child with an exact list, although an inheritable handle is open.
fn passes_event_to_a_child(_: &[String]) {
    let _event = leaking();
    let ready = Event::manual_reset().unwrap();
    let mut command = handover::Command::new(this_program());
    command.args(role("exits", &[])).inherit("ready to go", &ready);
    assert_eq!(command.spawn().unwrap().wait_timeout(LONG).unwrap().code(), Some(0));
}

fn audit_of_exact_list_is_clean() {
    table::keep_what_came();
    let audit = audit("passes_event_to_a_child", &[]);
    assert!(audit.is_clean(), "{audit}");
    let [_, child] = audit.processes.as_slice() else { panic!("{audit}") };
    let listed: Vec<_> =
        child.handles.iter().filter(|(_, origin)| matches!(origin, Origin::Listed(_))).collect();
    let [(entry, Origin::Listed(name))] = listed.as_slice() else { panic!("{child:?}") };
    assert_eq!((name.as_str(), entry.kind()), ("ready to go", Ok(&ObjectKind::Event)));
}

/// Spawns a child with a listed object; the child passes its environment and its handles on with std's `Command`.
fn copies_its_environment(arguments: &[String]) {
    if arguments.is_empty() {
        let ready = Event::manual_reset().unwrap();
        let mut command = handover::Command::new(this_program());
        command.args(role("copies_its_environment", &["now"])).inherit("ready", &ready);
        assert_eq!(command.spawn().unwrap().wait_timeout(LONG).unwrap().code(), Some(0));
        return;
    }
    run_to_its_end(&mut in_role_of_std("exits", &[]));
}

fn manifest_of_another_process_does_not_explain_handles() {
    let audit = audit("copies_its_environment", &[]);
    let [_, child, grandchild] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!(child.leaks().count(), 0, "{audit}");
    assert_eq!(leaked_kinds(grandchild), [ObjectKind::Event], "{audit}");
}

fn has_descendants(arguments: &[String]) {
    let left: u32 = arguments[0].parse().unwrap();
    let _event = leaking();
    if left > 0 {
        run_to_its_end(&mut in_role_of_std("has_descendants", &[&(left - 1).to_string()]));
    }
}

fn audit_reports_leaks_in_each_generation() {
    table::keep_what_came();
    let audit = audit("has_descendants", &["3"]);
    assert_eq!(audit.processes.len(), 4, "{audit}");
    for (generation, started) in audit.processes.iter().enumerate() {
        // Each generation inherits the leaked handles of all generations before it.
        assert_eq!(leaked_kinds(started), vec![ObjectKind::Event; generation], "{audit}");
        if generation > 0 {
            assert_eq!(started.parent, audit.processes[generation - 1].id);
        }
    }
}

fn starts_from_two_threads(_: &[String]) {
    let _event = leaking();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..5 {
                    run_to_its_end(&mut in_role_of_std("exits", &[]));
                }
            });
        }
    });
}

fn audit_distinguishes_children_of_two_threads() {
    let audit = audit("starts_from_two_threads", &[]);
    assert_eq!(audit.processes.len(), 11, "{audit}");
    let parent = audit.processes[0].id;
    for child in &audit.processes[1..] {
        assert_eq!(child.parent, parent);
        // The child may also have inherited handles that another thread's spawn made inheritable at the same time.
        assert!(leaked_kinds(child).contains(&ObjectKind::Event), "{audit}");
    }
}

fn kills_children_at_once(_: &[String]) {
    let _event = leaking();
    for _ in 0..10 {
        let mut child = in_role_of_std("sleeps", &[]).spawn().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn audit_handles_children_killed_at_start() {
    table::keep_what_came();
    let audit = Audit::new(in_role_of_std("kills_children_at_once", &[])).run(LONG).unwrap();
    assert_eq!(audit.status.code(), Some(0), "{audit}");
    // The audit reports a child as incomplete if the child is killed while the kernel is queried. On Linux, a child can
    // be killed before the audit sees it.
    let seen = audit.processes.len() - 1;
    assert!(seen <= 10, "{audit}");
    for child in &audit.processes[1..] {
        assert!(child.incomplete.is_some() || leaked_kinds(child) == [ObjectKind::Event], "{audit}");
    }
}

fn audited_process_is_stopped_while_watched() {
    let seen = Mutex::new(Vec::new());
    let look = |started: &AuditedProcess| {
        let values: Vec<u32> = started.handles.iter().map(|(entry, _)| entry.value().get()).collect();
        let there = || -> Vec<table::Entry> {
            let mut entries = table::of(started.id);
            entries.retain(|entry| entry.inheritable);
            entries.sort_unstable_by_key(|entry| entry.value);
            entries
        };
        let before = there();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(before, there(), "the process is running");
        assert_eq!(values, before.iter().map(|entry| entry.value).collect::<Vec<_>>());
        let access = |entry: &HandleEntry| entry.access();
        let accesses: Vec<u32> = started.handles.iter().map(|(entry, _)| access(entry)).collect();
        assert_eq!(accesses, before.iter().map(|entry| entry.access).collect::<Vec<_>>());
        seen.lock().unwrap().push(started.id);
    };
    let _event = leaking();
    let audit = Audit::new(in_role_of_std("leaks_to_a_child", &[])).watch(look).run(LONG).unwrap();
    let ids: Vec<u32> = audit.processes.iter().map(|started| started.id).collect();
    assert_eq!((ids.len(), seen.into_inner().unwrap()), (2, ids));
}

fn audit_fails_if_program_is_missing() {
    let handles = table::count();
    let program = std::env::temp_dir().join("no such program, really");
    // Many times, because two waits compete for a child that failed to exec, and the audit's own wait must win.
    for _ in 0..100 {
        match Audit::new(Command::new(&program)).run(LONG) {
            Err(error @ Error::ProgramNotFound { .. }) => {
                assert!(error.to_string().contains("no such program, really"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    let bare = Audit::new(Command::new("handover-no-such-program")).run(LONG);
    assert!(matches!(bare, Err(Error::ProgramNotFound { .. })), "{bare:?}");
    let folder = Audit::new(Command::new(std::env::temp_dir())).run(LONG);
    assert!(matches!(folder, Err(Error::CannotExecute { .. })), "{folder:?}");
    assert_eq!(table::count(), handles);
}

fn audit_rejects_piped_streams() {
    let mut command = in_role_of_std("sleeps", &[]);
    command.stdin(Stdio::piped());
    let begun = Instant::now();
    let refused = Audit::new(command).run(LONG);
    assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_no_children();
}

fn has_a_sleeping_child(_: &[String]) {
    in_role_of_std("sleeps", &[]).spawn().unwrap().wait().unwrap();
}

/// Asserts that no child of this process is left. Wine lists a process for a moment after its exit.
fn assert_no_children() {
    until("all children are waited for", || table::children_of(std::process::id()).is_empty());
}

fn assert_have_exited(processes: &[u32]) {
    for process in processes {
        assert!(table::ends_within(*process, 0), "process {process} is still running");
    }
    // A process that is killed while it creates another one can leave one that Wine lists for good.
    if !table::is_wine() {
        assert_no_children();
    }
}

fn timed_out_audit_leaves_no_process_or_handle() {
    let handles = table::count();
    let seen = Mutex::new(Vec::new());
    let time = Duration::from_secs(3);
    let begun = Instant::now();
    let outcome = Audit::new(in_role_of_std("has_a_sleeping_child", &[]))
        .watch(|started| seen.lock().unwrap().push(started.id))
        .run(time);
    match outcome {
        Err(Error::TimedOut { timeout: after, .. }) => assert_eq!(after, time),
        other => panic!("{other:?}"),
    }
    assert!((time..time + Duration::from_secs(10)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 2);
    assert_have_exited(&seen);
    assert_eq!(table::count(), handles);
    // An audit that times out before the program begins leaves nothing behind either.
    let outcome = Audit::new(in_role_of_std("sleeps", &[])).run(Duration::ZERO);
    assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
    assert_have_exited(&[]);
}

fn panicking_watcher_leaves_no_process_or_handle() {
    // The first panic of a process allocates handles that stay open.
    let _ = catch_unwind(|| panic!("the first"));
    let handles = table::count();
    let seen = Mutex::new(Vec::new());
    let auditing = Audit::new(in_role_of_std("has_a_sleeping_child", &[])).watch(|started| {
        let mut seen = seen.lock().unwrap();
        seen.push(started.id);
        if seen.len() == 2 {
            drop(seen);
            panic!("on purpose");
        }
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| auditing.run(LONG)));
    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    assert_have_exited(&seen.into_inner().unwrap());
    assert_eq!(table::count(), handles);
}

/// Runs an audit, and reports the processes that it sees to the process that started this one.
fn audits_a_sleeping_child(_: &[String]) {
    let audited = Audit::new(in_role_of_std("has_a_sleeping_child", &[]))
        .watch(|started| {
            use std::io::Write;
            println!("{}", started.id);
            std::io::stdout().flush().unwrap();
        })
        .run(LONG);
    panic!("{audited:?}");
}

fn killed_auditor_leaves_no_process() {
    use std::io::{BufRead, BufReader};
    let mut auditor = in_role_of_std("audits_a_sleeping_child", &[]);
    let mut auditor = auditor.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(auditor.stdout.take().unwrap()).lines();
    let ids: Vec<u32> = lines.take(2).map(|line| line.unwrap().trim().parse().unwrap()).collect();
    for id in &ids {
        assert!(!table::ends_within(*id, 100));
    }
    auditor.kill().unwrap();
    auditor.wait().unwrap();
    for id in ids {
        assert!(table::ends_within(id, 5000), "process {id} is still running");
    }
}

fn exits_as_argument_says(arguments: &[String]) {
    match arguments[0].as_str() {
        "with 0" => {}
        "with 7" => std::process::exit(7),
        "by a panic" => panic!("on purpose"),
        "by an abort" => std::process::abort(),
        "killed" => {
            table::kill(std::process::id());
            std::thread::sleep(LONG);
        }
        "by a fault" => table::touch_no_memory(),
        other => panic!("{other}"),
    }
}

fn audited_program_has_same_exit_status() {
    for way in ["with 0", "with 7", "by a panic", "by an abort", "killed", "by a fault"] {
        let quiet = || {
            let mut command = in_role_of_std("exits_as_argument_says", &[way]);
            command.stderr(Stdio::null());
            command
        };
        let expected = quiet().status().unwrap();
        let audit = Audit::new(quiet()).run(LONG).unwrap();
        assert_eq!(audit.status, expected, "{way}");
        assert_eq!(audit.status.success(), way == "with 0");
    }
}

/// Writes to both streams and starts another process.
fn writes_output(arguments: &[String]) {
    println!("first {arguments:?}");
    eprintln!("an error");
    run_to_its_end(&mut in_role_of_std("exits", &[]));
    let output = in_role_of_std("no_such_role", &[]).stdin(Stdio::null()).output().unwrap();
    println!("then {} {}", output.status, output.stdout.len());
    println!("{:?}", std::io::read_to_string(std::io::stdin()).unwrap());
    std::process::exit(3);
}

fn audited_program_has_same_output() {
    let base = std::env::temp_dir().join(format!("handover-audit-{}", std::process::id()));
    let [input, out, err] = ["in", "out", "err"].map(|part| base.with_extension(part));
    std::fs::write(&input, "what is read").unwrap();
    let run = |audited: bool| {
        let mut command = in_role_of_std("writes_output", &["ä ö", "\"x\""]);
        command
            .stdin(std::fs::File::open(&input).unwrap())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap());
        let status =
            if audited { Audit::new(command).run(LONG).unwrap().status } else { command.status().unwrap() };
        let said = [&out, &err].map(|path| std::fs::read_to_string(path).unwrap());
        (status, said)
    };
    let expected = run(false);
    assert!(expected.1[0].contains("what is read"), "{expected:?}");
    assert_eq!(run(true), expected);
    for path in [input, out, err] {
        std::fs::remove_file(path).unwrap();
    }
}

fn audit_ignores_other_children() {
    let start = || in_role_of_std("exits_as_argument_says", &["with 7"]).spawn().unwrap();
    let mut before = start();
    assert!(table::ends_within(before.id(), 20_000));
    let (mut stays, during) = (in_role_of_std("sleeps", &[]).spawn().unwrap(), Mutex::new(None));
    let audit = Audit::new(in_role_of_std("leaks_to_a_child", &[]))
        .watch(|_| {
            during.lock().unwrap().get_or_insert_with(start);
        })
        .run(LONG)
        .unwrap();
    let ours = [before.id(), stays.id()];
    assert!(audit.processes.iter().all(|started| !ours.contains(&started.id)), "{audit}");
    assert_eq!(audit.processes.len(), 2, "{audit}");
    assert_eq!(before.wait().unwrap().code(), Some(7));
    assert_eq!(during.into_inner().unwrap().unwrap().wait().unwrap().code(), Some(7));
    assert!(stays.try_wait().unwrap().is_none());
    stays.kill().unwrap();
    stays.wait().unwrap();
}

fn audit_leaks_no_handles() {
    audit("leaks_to_a_child", &[]);
    let handles = table::count();
    for _ in 0..5 {
        audit("leaks_to_a_child", &[]);
        assert_eq!(table::count(), handles);
    }
    // The system may list a process for a moment after its exit.
    until("the audited processes are gone", || table::children_of(std::process::id()).is_empty());
}

fn concurrent_audits_are_independent() {
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| audit("leaks_to_a_child", &[]));
        let other = scope.spawn(|| audit("has_descendants", &["2"]));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_eq!((one.processes.len(), other.processes.len()), (2, 3), "{one}\n{other}");
    assert!(one.processes.iter().all(|started| other.processes.iter().all(|apart| apart.id != started.id)));
}

fn takes_ready(_: &[String]) {
    handover::inherited().unwrap().take::<Event>("ready").unwrap().set().unwrap();
}

fn own_command<'a>(name: &str) -> handover::Command<'a> {
    let mut command = handover::Command::new(this_program());
    command.args(role(name, &[])).stdin(handover::Stdio::null());
    command
}

fn audit_starts_the_crates_own_commands() {
    table::keep_what_came();
    let once = || {
        let ready = Event::manual_reset().unwrap();
        for way in ["plain", "race-free", "with the parent", "killed on drop"] {
            let mut command = own_command("takes_ready");
            command.inherit("ready", &ready);
            match way {
                "race-free" => drop(command.race_free()),
                "with the parent" => drop(command.kill_with_parent(true)),
                "killed on drop" => drop(command.kill_on_drop(true)),
                _ => {}
            }
            let audit = Audit::new(command).run(LONG).unwrap();
            assert!(audit.status.success() && audit.is_clean(), "{way}: {audit}");
            assert!(ready.try_wait().unwrap(), "{way}");
            let command = &audit.processes[0];
            assert!(
                command.handles.iter().any(|(_, origin)| *origin == Origin::Listed("ready".into())),
                "{way}: {audit}"
            );
            ready.reset().unwrap();
        }
        let audit = Audit::new(own_command("leaks_to_a_child")).run(LONG).unwrap();
        assert_eq!(audit.leaks().count(), 1, "{audit}");
        assert!(!Audit::new(own_command("exits_as_argument_says")).run(LONG).unwrap().status.success());
    };
    // The second run opens no handle that the system or this crate keeps for the process.
    once();
    let before = settled(std::process::id());
    once();
    assert_eq!(settled(std::process::id()), before);
}

fn writes_to_both_streams(_: &[String]) {
    print!("{}", "out".repeat(50_000));
    eprint!("{}", "err".repeat(50_000));
    run_to_its_end(&mut in_role_of_std("says_more", &[]));
}

fn says_more(_: &[String]) {
    print!("more");
}

fn audit_collects_the_output() {
    table::keep_what_came();
    let once = |audit: Audit<'_>| {
        let audit = audit.capture_output().run(LONG).unwrap();
        assert!(audit.status.success() && audit.is_clean(), "{audit}");
        let [out, err] = [&audit.stdout, &audit.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(out == "out".repeat(50_000) + "more", "{} bytes", out.len());
        assert!(err == "err".repeat(50_000), "{} bytes", err.len());
    };
    let both = || {
        once(Audit::new(in_role_of_std("writes_to_both_streams", &[])));
        once(Audit::new(own_command("writes_to_both_streams")));
    };
    both();
    let before = settled(std::process::id());
    both();
    assert_eq!(settled(std::process::id()), before);
    let quiet = Audit::new(in_role_of_std("exits", &[])).run(LONG).unwrap();
    assert!(quiet.stdout.is_empty() && quiet.stderr.is_empty());
}

fn audit_reports_commands_that_it_cannot_use() {
    let before = settled(std::process::id());
    let missing = Audit::new(handover::Command::new("handover-no-such-program")).run(LONG);
    assert!(matches!(missing, Err(Error::ProgramNotFound { .. })), "{missing:?}");
    let mut piped = own_command("exits");
    piped.stdout(handover::Stdio::piped());
    let error = Audit::new(piped).run(LONG).unwrap_err();
    assert!(error.to_string().contains("has a pipe to this process"), "{error}");
    let mut with_channel = own_command("exits");
    with_channel.channel();
    let error = Audit::new(with_channel).run(LONG).unwrap_err();
    assert!(error.to_string().contains("has a channel to this process"), "{error}");
    let mut listed_twice = own_command("exits");
    let event = Event::manual_reset().unwrap();
    listed_twice.inherit("a", &event).inherit("a", &event);
    assert!(matches!(Audit::new(listed_twice).run(LONG), Err(Error::InvalidInput { .. })));
    drop(event);
    assert_eq!(settled(std::process::id()), before);
    let sleeps = Audit::new(own_command("sleeps")).run(Duration::from_millis(300));
    assert!(matches!(sleeps, Err(Error::TimedOut { .. })), "{sleeps:?}");
}
