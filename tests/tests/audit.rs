//! Auditing a program: what each process of its tree has inherited, and which of it nobody has listed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use handover::inspect::{Audit, AuditedProcess, HandleEntry, Origin};
use handover::{Error, Event, ObjectKind};
use handover_tests::{audit, in_role_of_std, raw, role, table, tests, this_program};

const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_program_without_leaks_is_clean,
            what_leaks_from_here_arrives_in_the_command,
            what_a_program_leaks_is_found_at_its_child,
            the_same_program_with_an_exact_list_has_no_leak,
            a_manifest_for_another_process_explains_nothing,
            a_leak_goes_down_to_the_grandchildren,
            children_of_two_threads_are_told_apart,
            children_that_die_at_once_are_seen,
            each_process_stands_still_while_it_is_looked_at,
            a_program_that_is_not_there_is_an_error,
            a_stream_that_is_a_pipe_to_here_is_refused,
            at_the_deadline_nothing_is_left,
            if_what_watches_panics_nothing_is_left,
            if_the_auditing_process_is_killed_nothing_is_left,
            the_status_is_the_one_without_an_audit,
            the_output_is_the_one_without_an_audit,
            other_children_are_left_alone,
            an_audit_costs_no_handle,
            two_audits_at_once_are_apart,
        ],
        tests![
            ends,
            sleeps,
            leaks_to_a_child,
            hands_down_to_a_child,
            copies_its_environment,
            has_descendants,
            starts_from_two_threads,
            starts_some_that_die_at_once,
            starts_one_that_stays,
            audits_one_that_stays,
            ends_in_a_way,
            speaks,
        ],
    )
}

fn leaked_kinds(started: &AuditedProcess) -> Vec<ObjectKind> {
    started.leaks().map(|leak| leak.kind().unwrap().clone()).collect()
}

fn ends(_: &[String]) {}

fn sleeps(_: &[String]) {
    std::thread::sleep(LONG);
}

/// An object that every child gets from now on which is started the ordinary way.
fn leaking() -> Event {
    let event = Event::manual_reset().unwrap();
    table::make_inheritable(&event);
    event
}

fn run_to_its_end(command: &mut Command) {
    assert!(command.status().unwrap().success());
}

fn a_program_without_leaks_is_clean() {
    table::keep_what_came();
    let audit = audit("ends", &[]);
    assert!(audit.is_clean(), "{audit}");
    let [only] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!(only.parent, std::process::id());
    assert_eq!(
        only.program.as_deref().unwrap().canonicalize().unwrap(),
        this_program().canonicalize().unwrap()
    );
    let streams = only.handles.iter().filter(|(_, standing)| *standing == Origin::Stream).count();
    assert_eq!(streams, 3, "{audit}");
}

fn what_leaks_from_here_arrives_in_the_command() {
    table::keep_what_came();
    let objects = raw::objects();
    objects.iter().for_each(|(_, object, _)| table::make_inheritable(object));
    let audit = audit("ends", &[]);
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

/// rust-lang/rust#38227.
fn leaks_to_a_child(_: &[String]) {
    let _event = leaking();
    run_to_its_end(&mut in_role_of_std("ends", &[]));
}

fn what_a_program_leaks_is_found_at_its_child() {
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

/// The same with an exact list; what is inheritable is there nevertheless.
fn hands_down_to_a_child(_: &[String]) {
    let _event = leaking();
    let ready = Event::manual_reset().unwrap();
    let mut command = handover::Command::new(this_program());
    command.args(role("ends", &[])).inherit("ready to go", &ready);
    assert!(command.spawn().unwrap().wait_timeout(LONG).unwrap().success());
}

fn the_same_program_with_an_exact_list_has_no_leak() {
    table::keep_what_came();
    let audit = audit("hands_down_to_a_child", &[]);
    assert!(audit.is_clean(), "{audit}");
    let [_, child] = audit.processes.as_slice() else { panic!("{audit}") };
    let listed: Vec<_> =
        child.handles.iter().filter(|(_, standing)| matches!(standing, Origin::Listed(_))).collect();
    let [(entry, Origin::Listed(name))] = listed.as_slice() else { panic!("{child:?}") };
    assert_eq!((name.as_str(), entry.kind()), ("ready to go", Ok(&ObjectKind::Event)));
}

/// Goes with a process to which something was handed down, and hands it on without saying so.
fn copies_its_environment(arguments: &[String]) {
    if arguments.is_empty() {
        let ready = Event::manual_reset().unwrap();
        let mut command = handover::Command::new(this_program());
        command.args(role("copies_its_environment", &["now"])).inherit("ready", &ready);
        assert!(command.spawn().unwrap().wait_timeout(LONG).unwrap().success());
        return;
    }
    run_to_its_end(&mut in_role_of_std("ends", &[]));
}

fn a_manifest_for_another_process_explains_nothing() {
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

fn a_leak_goes_down_to_the_grandchildren() {
    table::keep_what_came();
    let audit = audit("has_descendants", &["3"]);
    assert_eq!(audit.processes.len(), 4, "{audit}");
    for (generation, started) in audit.processes.iter().enumerate() {
        // What came from above was never closed and goes on.
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
                    run_to_its_end(&mut in_role_of_std("ends", &[]));
                }
            });
        }
    });
}

fn children_of_two_threads_are_told_apart() {
    let audit = audit("starts_from_two_threads", &[]);
    assert_eq!(audit.processes.len(), 11, "{audit}");
    let parent = audit.processes[0].id;
    for child in &audit.processes[1..] {
        assert_eq!(child.parent, parent);
        // What another thread's spawn has made inheritable in the same moment can be there too.
        assert!(leaked_kinds(child).contains(&ObjectKind::Event), "{audit}");
    }
}

fn starts_some_that_die_at_once(_: &[String]) {
    let _event = leaking();
    for _ in 0..10 {
        let mut child = in_role_of_std("sleeps", &[]).spawn().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn children_that_die_at_once_are_seen() {
    let audit = Audit::new(in_role_of_std("starts_some_that_die_at_once", &[])).run(LONG).unwrap();
    assert!(audit.status.success(), "{audit}");
    // One that is killed while the kernel is asked about it is said to be so, and on Linux one can be killed before that.
    let seen = audit.processes.len() - 1;
    assert!(seen <= 10, "{audit}");
    for child in &audit.processes[1..] {
        assert!(child.incomplete.is_some() || leaked_kinds(child) == [ObjectKind::Event], "{audit}");
    }
}

fn each_process_stands_still_while_it_is_looked_at() {
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
        assert_eq!(before, there(), "it runs");
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

fn a_program_that_is_not_there_is_an_error() {
    let handles = table::count();
    // By its path, because what is found in PATH can be forbidden instead.
    let program = std::env::temp_dir().join("no such program, really");
    // Often, because two wait for a child that can't become the program, and one of them must not.
    for _ in 0..100 {
        match Audit::new(Command::new(&program)).run(LONG) {
            Err(error @ Error::System { .. }) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
                assert!(error.to_string().contains("no such program, really"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(table::count(), handles);
}

fn a_stream_that_is_a_pipe_to_here_is_refused() {
    let mut command = in_role_of_std("sleeps", &[]);
    command.stdin(Stdio::piped());
    let begun = Instant::now();
    let refused = Audit::new(command).run(LONG);
    assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(table::children_of(std::process::id()), []);
}

fn starts_one_that_stays(_: &[String]) {
    in_role_of_std("sleeps", &[]).spawn().unwrap().wait().unwrap();
}

fn are_gone(processes: &[u32]) {
    for process in processes {
        assert!(table::ends_within(*process, 0), "process {process} is left");
    }
    assert_eq!(table::children_of(std::process::id()), [], "waited for");
}

fn at_the_deadline_nothing_is_left() {
    let handles = table::count();
    let seen = Mutex::new(Vec::new());
    let time = Duration::from_secs(3);
    let begun = Instant::now();
    let outcome = Audit::new(in_role_of_std("starts_one_that_stays", &[]))
        .watch(|started| seen.lock().unwrap().push(started.id))
        .run(time);
    match outcome {
        Err(Error::TimedOut { timeout: after, .. }) => assert_eq!(after, time),
        other => panic!("{other:?}"),
    }
    assert!((time..time + Duration::from_secs(10)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 2);
    are_gone(&seen);
    assert_eq!(table::count(), handles);
    // Of one that hasn't even begun, nothing is left either.
    let outcome = Audit::new(in_role_of_std("sleeps", &[])).run(Duration::ZERO);
    assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
    are_gone(&[]);
}

fn if_what_watches_panics_nothing_is_left() {
    // What the first panic needs stays.
    let _ = catch_unwind(|| panic!("the first"));
    let handles = table::count();
    let seen = Mutex::new(Vec::new());
    let auditing = Audit::new(in_role_of_std("starts_one_that_stays", &[])).watch(|started| {
        let mut seen = seen.lock().unwrap();
        seen.push(started.id);
        if seen.len() == 2 {
            drop(seen);
            panic!("on purpose");
        }
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| auditing.run(LONG)));
    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"on purpose"));
    are_gone(&seen.into_inner().unwrap());
    assert_eq!(table::count(), handles);
}

/// Audits, and tells whoever has started this which processes there are.
fn audits_one_that_stays(_: &[String]) {
    let audited = Audit::new(in_role_of_std("starts_one_that_stays", &[]))
        .watch(|started| {
            use std::io::Write;
            println!("{}", started.id);
            std::io::stdout().flush().unwrap();
        })
        .run(LONG);
    panic!("{audited:?}");
}

fn if_the_auditing_process_is_killed_nothing_is_left() {
    use std::io::{BufRead, BufReader};
    let mut auditor = in_role_of_std("audits_one_that_stays", &[]);
    let mut auditor = auditor.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(auditor.stdout.take().unwrap()).lines();
    let ids: Vec<u32> = lines.take(2).map(|line| line.unwrap().trim().parse().unwrap()).collect();
    for id in &ids {
        assert!(!table::ends_within(*id, 100));
    }
    auditor.kill().unwrap();
    auditor.wait().unwrap();
    for id in ids {
        assert!(table::ends_within(id, 5000), "process {id} is left");
    }
}

fn ends_in_a_way(arguments: &[String]) {
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

fn the_status_is_the_one_without_an_audit() {
    for way in ["with 0", "with 7", "by a panic", "by an abort", "killed", "by a fault"] {
        let quiet = || {
            let mut command = in_role_of_std("ends_in_a_way", &[way]);
            command.stderr(Stdio::null());
            command
        };
        let expected = quiet().status().unwrap();
        let audit = Audit::new(quiet()).run(LONG).unwrap();
        assert_eq!(audit.status, expected, "{way}");
        assert_eq!(audit.status.success(), way == "with 0");
    }
}

/// Says something, also with the help of another process.
fn speaks(arguments: &[String]) {
    println!("first {arguments:?}");
    eprintln!("an error");
    run_to_its_end(&mut in_role_of_std("ends", &[]));
    let output = in_role_of_std("speaks_no_more", &[]).stdin(Stdio::null()).output().unwrap();
    println!("then {} {}", output.status, output.stdout.len());
    println!("{:?}", std::io::read_to_string(std::io::stdin()).unwrap());
    std::process::exit(3);
}

fn the_output_is_the_one_without_an_audit() {
    let base = std::env::temp_dir().join(format!("handover-audit-{}", std::process::id()));
    let [input, out, err] = ["in", "out", "err"].map(|part| base.with_extension(part));
    std::fs::write(&input, "what is read").unwrap();
    let run = |audited: bool| {
        let mut command = in_role_of_std("speaks", &["ä ö", "\"x\""]);
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

fn other_children_are_left_alone() {
    let start = || in_role_of_std("ends_in_a_way", &["with 7"]).spawn().unwrap();
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

fn an_audit_costs_no_handle() {
    audit("leaks_to_a_child", &[]);
    let handles = table::count();
    for _ in 0..5 {
        audit("leaks_to_a_child", &[]);
        assert_eq!(table::count(), handles);
    }
    assert_eq!(table::children_of(std::process::id()), []);
}

fn two_audits_at_once_are_apart() {
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| audit("leaks_to_a_child", &[]));
        let other = scope.spawn(|| audit("has_descendants", &["2"]));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_eq!((one.processes.len(), other.processes.len()), (2, 3), "{one}\n{other}");
    assert!(one.processes.iter().all(|started| other.processes.iter().all(|apart| apart.id != started.id)));
}
