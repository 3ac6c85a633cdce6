//! The levels beyond the exercises: right and wrong groups of programs, and the verdicts on them.

use handover_tests::{Test, foreign, is_foreign_there, tests};

use super::common::{Wrong, assert_holds, for_each, judged, references_hold, the_levels_hold};
use super::linux::drawn;

pub(crate) const TESTS: &[Test] = tests![
    right_groups_of_each_level_hold,
    the_levels_hold,
    the_race_holds,
    wrong_groups_of_two_children_fail_for_their_reason,
    wrong_groups_of_grandchild_fail_for_their_reason,
    wrong_groups_of_unrelated_fail_for_their_reason,
    wrong_groups_of_pipe_fail_for_their_reason,
    wrong_groups_of_least_access_fail_for_their_reason,
    wrong_groups_of_race_fail_for_their_reason,
    wrong_groups_of_abandonment_fail_for_their_reason,
    each_level_has_a_picture_of_all_its_processes,
    script_in_front_of_the_parent_is_found_out,
];

fn group(level: &str, name: &str) -> Vec<String> {
    vec![foreign("level").into_os_string().into_string().unwrap(), level.to_owned(), name.to_owned()]
}

fn right_groups_of_each_level_hold() {
    if !is_foreign_there("level") {
        return;
    }
    let groups = [
        ("two-children", "right"),
        ("grandchild", "right"),
        ("grandchild", "sent"),
        ("unrelated", "right"),
        ("unrelated", "getfd"),
        ("pipe", "right"),
        ("least-access", "right"),
        ("least-access", "fifo"),
        ("race", "right"),
        ("abandonment", "right"),
    ];
    for_each(groups, |(level, name)| assert_holds(level, &group(level, name)));
}

/// On Windows the reference gives its children another parent, for which the checker doesn't see the starting thread.
fn the_race_holds() {
    references_hold(&[("race", "race-parent")]);
}

/// The wrong groups of all levels, and the requirements that fail.
pub(super) const WRONG: &[Wrong] = &[
    ("two-children", "one-child", &["starts-children"], "one child only"),
    ("two-children", "second-lacks-handle", &["same-object", "exit-codes"], "handle of the second child"),
    ("two-children", "waits-for-own-event", &["waits", "exit-codes"], "created itself"),
    ("two-children", "signals-first", &["signals"], "before there is a child"),
    ("two-children", "signals-twice", &["one-signal"], "2 times"),
    ("two-children", "reads-the-event", &["releases-both", "exit-codes"], "didn't end the last wait"),
    ("two-children", "leaves-second", &["waits-for-child"], "second child's end"),
    ("grandchild", "waits-itself", &["starts-grandchild"], "the parent's own child"),
    ("grandchild", "closed-at-exec", &["passed-on", "exit-codes"], "no handle of the grandchild"),
    ("grandchild", "by-name", &["passed-on"], "the grandchild got the handle without the child"),
    ("grandchild", "child-leaves", &["waits-for-child"], "the grandchild's end"),
    ("unrelated", "own-child", &["starts-unrelated"], "started the receiver itself"),
    ("unrelated", "by-name", &["acquired"], "by its name"),
    ("unrelated", "sleeps", &["waits"], "the receiver"),
    ("unrelated", "never-signals", &["signals", "exit-codes"], "no process signals"),
    ("pipe", "inherited", &["acquired"], "has inherited"),
    ("pipe", "no-bytes", &["bytes"], "wrote 0 bytes"),
    ("pipe", "both-ends", &["no-stray-end", "end-of-file", "exit-codes"], "has a writing end"),
    ("pipe", "closes-late", &["end-of-file", "exit-codes"], "a writing end stayed open"),
    ("pipe", "reads-once", &["end-of-file"], "stops reading"),
    ("least-access", "event", &["least-access"], "can also signal"),
    ("least-access", "both-ends", &["least-access"], "can also signal"),
    ("least-access", "opened-for-writing", &["least-access"], "can also signal"),
    ("race", "one-event", &["creates-events"], "1 event"),
    ("race", "one-thread", &["two-threads"], "one thread starts both"),
    ("race", "inherit-all", &["own-handle-only", "never-exposed"], "to the other event"),
    ("race", "flag-in-the-parent", &["never-exposed"], "was inheritable in the parent"),
    ("abandonment", "never-locks", &["waits"], "no call that waits for the mutex"),
    ("abandonment", "waits-for-process", &["waits"], "no call that waits for the mutex"),
    ("abandonment", "ignores-abandonment", &["abandoned"], "as if its owner had released it"),
    ("abandonment", "not-robust", &["abandoned"], "exited with code 3"),
    ("abandonment", "never-told", &["abandoned"], "isn't told"),
    ("abandonment", "always-abandoned", &["exit-codes"], "exited with code 4"),
];

fn assert_all_fail(level: &str) {
    if !is_foreign_there("level") {
        return;
    }
    let of_level: Vec<Wrong> = WRONG.iter().copied().filter(|wrong| wrong.0 == level).collect();
    assert!(of_level.len() >= 3, "{level} has too few wrong groups");
    for_each(of_level, |(level, name, fails, why)| {
        let judged = judged(level, "15", &group(level, name));
        assert_eq!(judged.fails, fails, "{level}, {name}: {judged:#?}");
        assert!(judged.why.contains(why), "{level}, {name}: {:?} lacks {why:?}", judged.why);
        assert_eq!(judged.code, Some(1), "{level}, {name}: {judged:#?}");
        assert_eq!((&judged.whole["holds"], &judged.whole["exercise"]), (&false.into(), &level.into()));
    });
}

fn wrong_groups_of_two_children_fail_for_their_reason() {
    assert_all_fail("two-children");
}

fn wrong_groups_of_grandchild_fail_for_their_reason() {
    assert_all_fail("grandchild");
}

fn wrong_groups_of_unrelated_fail_for_their_reason() {
    assert_all_fail("unrelated");
}

fn wrong_groups_of_pipe_fail_for_their_reason() {
    assert_all_fail("pipe");
}

fn wrong_groups_of_least_access_fail_for_their_reason() {
    assert_all_fail("least-access");
}

fn wrong_groups_of_race_fail_for_their_reason() {
    assert_all_fail("race");
}

fn wrong_groups_of_abandonment_fail_for_their_reason() {
    assert_all_fail("abandonment");
}

fn each_level_has_a_picture_of_all_its_processes() {
    if !is_foreign_there("level") {
        return;
    }
    let levels = [
        ("two-children", &["child, process", "second child, process"][..]),
        (
            "grandchild",
            &["child, process", "inherited", "child, process", "grandchild, process", "inherited"],
        ),
        ("unrelated", &["sharer, process", "receiver, process", "in a message"]),
        ("pipe", &["parent, process", "child, process", "in a message", "write(pipe", "= end of file"]),
        ("race", &["child, process", "second child, process"]),
        (
            "abandonment",
            &["parent, process", "child, process", "inherited", "futex(shared memory", "waits", "= signaled"],
        ),
    ];
    for_each(levels, |(level, parts)| {
        let (code, text) = drawn(level, "right", &group(level, "right"));
        assert_eq!(code, Some(0), "{level}: {text}");
        let mut rest = text.as_str();
        for part in parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{level}: no {part:?} in this order: {text}"));
            rest = &rest[at + part.len()..];
        }
    });
}

/// A shell that stays in front of the parent, because another command follows.
fn script_in_front_of_the_parent_is_found_out() {
    if !is_foreign_there("pair") || !is_foreign_there("level") {
        return;
    }
    let behind_shell = |words: &[String]| {
        let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        ["/bin/sh", "-c", &format!("{line}; exit $?")].map(str::to_owned).to_vec()
    };
    let pair = foreign("pair").into_os_string().into_string().unwrap();
    assert_holds("inheritance", &behind_shell(&[pair.clone(), "argument".to_owned()]));
    assert_holds("grandchild", &behind_shell(&group("grandchild", "right")));
    let judged = judged("inheritance", "20", &behind_shell(&[pair, "never-signals".to_owned()]));
    assert_eq!(judged.fails, ["signals", "exit-codes"], "{judged:#?}");
}
