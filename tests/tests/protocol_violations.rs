//! Tests of a weaker endpoint that breaks each protocol rule in turn, with bare system calls. The stronger endpoint
//! reports the violation, leaks no handles, and keeps serving others.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Channel, Child, Error, Event};
use handover_tests::frame::{frame, with};
use handover_tests::{
    assert_channel_closed_by_violation, assert_violation, linked_in_role, table, tests, weaker,
};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            invalid_frames_close_the_channel,
            truncated_frame_is_an_error,
            stall_costs_at_most_one_timeout,
            flood_of_fragments_costs_at_most_one_timeout,
            flood_of_messages_does_not_block_send,
            wrong_replies_reach_no_call,
        ],
        tests![hostile, replies_wrongly, echoes],
    )
}

fn hostile(arguments: &[String]) {
    let endpoint = weaker::Endpoint::inherited();
    let (event, other) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let (own, other) = (table::value(&event), table::value(&other));
    let say = |bytes: &[u8]| endpoint.write(bytes, &[], SOON);
    let say_with = |bytes: &[u8], objects: &[u32]| endpoint.write(bytes, objects, SOON);
    let good = frame(0, &[], b"good");
    match arguments[0].as_str() {
        "noise" => say(&[0xff; 64]),
        "another protocol" => say(b"GET / HTTP/1.1\r\n\r\n"),
        "version" => say(&with(good, 2, &[9])),
        "too many objects" => say(&with(good, 4, &[254])),
        "too many bytes" => say(&with(good, 12, &0xffff_ffff_u32.to_le_bytes())),
        "a table that lies" => {
            let mut lie = frame(0, &[(own, b"abc")], b"x");
            let length = lie.len() - 34;
            lie = with(lie, 8, &u32::try_from(length).unwrap().to_le_bytes());
            say_with(&with(lie, 12, &2_u32.to_le_bytes()), &[own])
        }
        "no table" => say(&with(good, 4, &[3])),
        "out of order" => say(&frame(1, &[], b"")),
        "twice" => say(&good) && say(&good),
        "a name twice" => say_with(&frame(0, &[(own, b"a"), (other, b"a")], b""), &[own, other]),
        "a name that is none" => say_with(&frame(0, &[(own, b"\xff")], b""), &[own]),
        "an empty name" => say_with(&frame(0, &[(own, b"a"), (other, b"")], b""), &[own, other]),
        "half" => say_with(&frame(0, &[(own, b"a")], b"some bytes")[..38], &[own]),
        "half and ends" => {
            assert!(say_with(&frame(0, &[(own, b"a")], b"some bytes")[..38], &[own]));
            return;
        }
        "half and closes" => {
            assert!(say_with(&frame(0, &[(own, b"a")], b"some bytes")[..38], &[own]));
            endpoint.close();
            true
        }
        "writes nothing, often" => {
            let until = Instant::now() + Duration::from_secs(3);
            while Instant::now() < until && say(b"") {}
            true
        }
        "drips" => {
            let frame = frame(0, &[], &vec![7; 1 << 20]);
            let until = Instant::now() + Duration::from_secs(3);
            for byte in &frame {
                if Instant::now() > until || !say(std::slice::from_ref(byte)) {
                    break;
                }
            }
            true
        }
        "floods" => {
            let mut number = 0;
            while say_with(&frame(number, &[(own, b"a")], b"flood"), &[own]) {
                number += 1;
            }
            true
        }
        other => panic!("{other}"),
    };
    std::thread::sleep(Duration::from_secs(20));
}

/// Returns a reply with this number, to the call with this id.
fn reply(number: u64, id: [u8; 8], bytes: &[u8]) -> Vec<u8> {
    with(with(frame(number, &[], bytes), 3, &[2]), 24, &id)
}

/// Replies to each call: first to calls that were never made and to the last one, then as asked, and then once more.
fn replies_wrongly(_: &[String]) {
    let endpoint = weaker::Endpoint::inherited();
    let (mut number, mut last) = (0, [7; 8]);
    while let Some(call) = endpoint.read(SOON) {
        assert_eq!(call[3], 1, "it is one call");
        let id: [u8; 8] = call[24..32].try_into().unwrap();
        let other = id.map(|byte| byte.wrapping_add(1));
        let replies =
            [(other, "never made"), (last, "late"), (id, "right"), (id, "again"), (other, "never made")];
        for (id, bytes) in replies {
            assert!(endpoint.write(&reply(number, id, bytes.as_bytes()), &[], SOON));
            number += 1;
        }
        last = id;
    }
}

fn wrong_replies_reach_no_call() {
    let (mut child, channel) = linked_in_role("replies_wrongly", &[]);
    for _ in 0..20 {
        let reply = channel.call("question", SOON).unwrap();
        assert_eq!(reply.bytes(), b"right");
        let none = channel.try_recv().unwrap();
        assert!(none.is_none(), "{none:?}");
    }
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

fn echoes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(message) = channel.recv_timeout(SOON) {
        channel.send(message.bytes()).unwrap();
    }
}

/// Runs the hostile child with these arguments, and asserts that the handle count is as before.
fn met(arguments: &[&str], meet: impl FnOnce(&Child, &Channel)) {
    let before = table::count();
    let (mut child, channel) = linked_in_role("hostile", arguments);
    meet(&child, &channel);
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    drop((child, channel));
    assert_eq!(table::count(), before, "{arguments:?}");
}

fn refused(arguments: &[&str], part: &str) {
    met(arguments, |child, channel| assert_channel_closed_by_violation(child, channel, part));
}

fn invalid_frames_close_the_channel() {
    for (case, part) in [
        ("noise", "doesn't begin"),
        ("another protocol", "doesn't begin"),
        ("too many objects", "more than 253"),
        ("too many bytes", "more than 16 MiB"),
        ("a table that lies", "list of objects"),
        ("no table", "list of objects"),
        ("out of order", "out of order"),
        ("a name twice", "twice"),
        ("a name that is none", "isn't text"),
        ("an empty name", "list of objects"),
    ] {
        refused(&[case], part);
    }
    met(&["version"], |_, channel| {
        for outcome in [channel.recv_timeout(SOON).map(drop), channel.send(b"hello")] {
            let is_version = matches!(outcome, Err(Error::IncompatibleVersion { ours: 1, theirs: 9, .. }));
            assert!(is_version, "{outcome:?}");
        }
    });
    met(&["twice"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        assert_violation(channel.recv_timeout(SOON), child, "out of order");
    });
}

fn truncated_frame_is_an_error() {
    met(&["half and closes"], |child, channel| {
        assert_violation(channel.recv_timeout(SOON), child, "cut off");
    });
    met(&["half and ends"], |child, channel| match channel.recv_timeout(SOON) {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    });
}

/// Asserts that a stall or a flood costs its victim one timeout, and delays no other channel.
fn assert_costs_one_timeout(case: &str) {
    let (good_child, good) = linked_in_role("echoes", &[]);
    good.send(b"warm").unwrap();
    good.recv_timeout(SOON).unwrap();
    met(&[case], |_, channel| {
        std::thread::sleep(Duration::from_millis(300));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (started, time) = (Instant::now(), Duration::from_millis(500));
                let late = channel.recv_timeout(time);
                assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
                assert!(started.elapsed() >= time && started.elapsed() < time * 5, "{:?}", started.elapsed());
                assert!(channel.try_recv().unwrap().is_none());
            });
            for _ in 0..20 {
                good.send(b"others").unwrap();
                assert_eq!(good.recv_timeout(SOON).unwrap().bytes(), b"others");
            }
        });
    });
    drop((good_child, good));
}

fn stall_costs_at_most_one_timeout() {
    assert_costs_one_timeout("half");
}

fn flood_of_fragments_costs_at_most_one_timeout() {
    assert_costs_one_timeout("writes nothing, often");
    assert_costs_one_timeout("drips");
    for case in ["writes nothing, often", "drips"] {
        met(&[case], |_, channel| {
            std::thread::sleep(Duration::from_millis(300));
            let (started, time) = (Instant::now(), Duration::from_millis(300));
            let late = channel.send_timeout(vec![0; 1 << 20], time);
            assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
            assert!(started.elapsed() >= time && started.elapsed() < time * 5, "{:?}", started.elapsed());
        });
    }
}

fn flood_of_messages_does_not_block_send() {
    met(&["floods"], |_, channel| {
        let handles = table::count();
        for _ in 0..500 {
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"flood");
        }
        assert_eq!(table::count(), handles);
        // The peer doesn't read, so the send times out. Messages that arrive meanwhile are kept.
        let late = channel.send_timeout(vec![0; 1 << 20], Duration::from_millis(300));
        assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"flood");
    });
}
