//! A weaker end that breaks each rule in turn: it speaks the wire format by itself, with bare calls. The stronger end
//! refuses, says what was wrong, keeps nothing, and goes on serving others.

use std::os::windows::io::BorrowedHandle;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Channel, Child, Command, Error, Event, Message, Received, Stdio};
use handover_tests::{raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            what_is_no_frame_ends_the_channel,
            pseudo_handles_never_reach_the_system,
            forged_values_are_refused_with_all_that_came_beside,
            a_frame_that_is_cut_off_is_an_error,
            a_stall_costs_no_more_than_the_deadline,
            a_flood_of_nothing_costs_no_more_than_the_deadline,
            a_flood_of_messages_can_be_ended,
            a_ledger_that_lies_harms_the_liar_alone,
            a_ledger_that_never_stands_still_breaks_nothing,
        ],
        tests![hostile, echoes],
    )
}

/// The hostile child's three handles, as its environment names them.
fn ends() -> [BorrowedHandle<'static>; 3] {
    let manifest = std::env::var("HANDOVER_INHERITED").unwrap();
    ["handover/pipe", "handover/ledger", "handover/fetched"].map(|name| {
        let value = manifest.split(' ').find_map(|word| word.strip_suffix(name)?.strip_suffix('='));
        table::borrowed(value.expect("the parent gave it").parse().unwrap())
    })
}

/// A frame by the documentation of the format, and not by the library's code.
fn frame(number: u64, objects: &[(u32, &[u8])], bytes: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for (value, name) in objects {
        list.extend(value.to_le_bytes());
        list.push(u8::try_from(name.len()).unwrap());
        list.extend(*name);
    }
    let mut frame = vec![b'H', b'O', 1, u8::try_from(objects.len()).unwrap()];
    frame.extend(u32::try_from(list.len()).unwrap().to_le_bytes());
    frame.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    frame.extend(number.to_le_bytes());
    frame.extend(list);
    frame.extend(bytes);
    frame
}

fn with(mut frame: Vec<u8>, place: usize, bytes: &[u8]) -> Vec<u8> {
    frame[place..place + bytes.len()].copy_from_slice(bytes);
    frame
}

fn hostile(arguments: &[String]) {
    let [pipe, ledger, _] = ends();
    let event = Event::manual_reset().unwrap();
    let own = table::value(&event);
    let say = |bytes: &[u8]| raw::write(pipe, bytes, SOON);
    let good = frame(0, &[], b"good");
    match arguments[0].as_str() {
        "noise" => say(&[0xff; 64]),
        "another protocol" => say(b"GET / HTTP/1.1\r\n\r\n"),
        "version" => say(&with(good, 2, &[9])),
        "too many objects" => say(&with(good, 3, &[254])),
        "too many bytes" => say(&with(good, 8, &0xffff_ffff_u32.to_le_bytes())),
        "a table that lies" => {
            let lie = with(frame(0, &[(own, b"a")], b"x"), 4, &7_u32.to_le_bytes());
            say(&with(lie, 8, &0_u32.to_le_bytes()))
        }
        "no table" => say(&with(good, 3, &[3])),
        "out of order" => say(&frame(1, &[], b"")),
        "twice" => say(&[good.clone(), good].concat()),
        "a name twice" => say(&frame(0, &[(own, b"a"), (own + 4, b"a")], b"")),
        "a value twice" => say(&frame(0, &[(own, b"a"), (own, b"b")], b"")),
        "a name that is none" => say(&frame(0, &[(own, b"\xff")], b"")),
        "an empty name" => say(&frame(0, &[(own, b"a"), (own + 4, b"")], b"")),
        "value" => say(&frame(0, &[(own, b"a"), (arguments[1].parse().unwrap(), b"b")], b"")),
        "value and looks" => {
            say(&frame(0, &[(own, b"a"), (arguments[1].parse().unwrap(), b"b")], b""));
            // It is told that the fetching is over, though it failed: an honest end closes its own then.
            let fetched = &raw::words(ledger, 16)[10];
            until("it is told", || fetched.load(std::sync::atomic::Ordering::SeqCst) == 1);
            Event::open_named(&arguments[2], handover::Access::EVENT_USE).unwrap().set().unwrap();
            true
        }
        "half" => say(&frame(0, &[(own, b"a")], b"some bytes")[..30]),
        "half and ends" => {
            say(&frame(0, &[(own, b"a")], b"some bytes")[..30]);
            return;
        }
        "half and closes" => {
            say(&frame(0, &[(own, b"a")], b"some bytes")[..30]);
            table::close_value(table::value(&pipe));
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
            while raw::write(pipe, &frame(number, &[(own, b"a")], b"flood"), SOON) {
                number += 1;
            }
            true
        }
        "says that it took all" => {
            raw::words(ledger, 16)[6].store(u64::MAX << 3, std::sync::atomic::Ordering::SeqCst);
            say(&good)
        }
        "says that it took none" => {
            raw::words(ledger, 16)[6].store(4, std::sync::atomic::Ordering::SeqCst);
            say(&good)
        }
        "takes its objects back" => {
            raw::words(ledger, 16)[8].store(1, std::sync::atomic::Ordering::SeqCst);
            say(&frame(0, &[(own, b"a")], b""))
        }
        "scribbles" => {
            let words = raw::words(ledger, 16);
            let mut random = 0x1234_5678_9abc_def0_u64;
            for number in 0.. {
                for _ in 0..50 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let word = usize::try_from(random % 16).unwrap();
                    words[word].store(random.rotate_left(29), std::sync::atomic::Ordering::SeqCst);
                }
                if !raw::write(pipe, &frame(number, &[(own, b"a")], b""), Duration::from_secs(1)) {
                    break;
                }
                // What comes is thrown away: the hostile end leaks what it is given, which is its own loss.
                let _ = raw::read(pipe, Duration::from_millis(1));
            }
            true
        }
        other => panic!("{other}"),
    };
    std::thread::sleep(Duration::from_secs(20));
}

fn echoes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(message) = channel.recv_timeout(SOON) {
        channel.send(message.bytes()).unwrap();
    }
}

fn in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null());
    let mut child = command.kill_on_drop(true).channel().spawn().unwrap();
    let channel = child.channel.take().unwrap();
    (child, channel)
}

/// What the hostile child's message leads to; afterwards this process has what it had before.
fn met(arguments: &[&str], meet: impl FnOnce(&Child, &Channel)) {
    let before = table::count();
    let (child, channel) = in_role("hostile", arguments);
    meet(&child, &channel);
    drop((child, channel));
    assert_eq!(table::count(), before, "{arguments:?}");
}

fn breaks_a_rule(outcome: Result<Received, Error>, child: &Child, part: &str) {
    match outcome {
        Err(error @ Error::Protocol { process, .. }) if process == child.id() => {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        other => panic!("{part}: {other:?}"),
    }
}

fn refused(arguments: &[&str], part: &str) {
    met(arguments, |child, channel| {
        let handles = table::count();
        breaks_a_rule(channel.recv_timeout(SOON), child, part);
        assert_eq!(table::count(), handles, "{arguments:?}");
        // It is the end, both ways, and it stays the end.
        breaks_a_rule(channel.recv_timeout(SOON), child, part);
        let event = Event::manual_reset().unwrap();
        let sent = channel.send(Message::new(b"").with("event", &event));
        assert!(matches!(sent, Err(Error::Protocol { .. })), "{sent:?}");
        assert_eq!(table::values_of(&event, child.id()), []);
    });
}

fn what_is_no_frame_ends_the_channel() {
    for (case, part) in [
        ("noise", "doesn't begin"),
        ("another protocol", "doesn't begin"),
        ("version", "another version"),
        ("too many objects", "more than 253"),
        ("too many bytes", "more than 16 MiB"),
        ("a table that lies", "table"),
        ("no table", "table"),
        ("out of order", "out of order"),
        ("a name twice", "twice"),
        ("a value twice", "twice"),
        ("a name that is none", "isn't text"),
        ("an empty name", "table"),
    ] {
        refused(&[case], part);
    }
    met(&["twice"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        breaks_a_rule(channel.recv_timeout(SOON), child, "out of order");
    });
}

fn pseudo_handles_never_reach_the_system() {
    for value in (u32::MAX - 11)..=u32::MAX {
        refused(&["value", &value.to_string()], "can't be a handle");
    }
    for value in [0, 1, 2, 3, 5, 0x8000_0000_u32] {
        refused(&["value", &value.to_string()], "can't be a handle");
    }
}

fn forged_values_are_refused_with_all_that_came_beside() {
    // A number that no handle of that process has. Whatever it has is its own to give.
    refused(&["value", "524272"], "no open handle");
    refused(&["value", "2147483644"], "no open handle");
    let name = format!("hostile.{}", std::process::id());
    let told = Event::create_named(&name, handover::Reset::Manual).unwrap();
    met(&["value and looks", "524272", &name], |child, channel| {
        breaks_a_rule(channel.recv_timeout(SOON), child, "no open handle");
        told.wait_timeout(SOON).unwrap();
    });
}

fn a_frame_that_is_cut_off_is_an_error() {
    met(&["half and closes"], |child, channel| {
        breaks_a_rule(channel.recv_timeout(SOON), child, "cut off");
    });
    met(&["half and ends"], |child, channel| match channel.recv_timeout(SOON) {
        Err(Error::PeerGone { process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    });
}

/// What a stall or a flood may cost: its victim's deadline, and nobody else.
fn costs_a_deadline(case: &str) {
    let (good_child, good) = in_role("echoes", &[]);
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

fn a_stall_costs_no_more_than_the_deadline() {
    costs_a_deadline("half");
}

fn a_flood_of_nothing_costs_no_more_than_the_deadline() {
    costs_a_deadline("writes nothing, often");
    costs_a_deadline("drips");
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

fn a_flood_of_messages_can_be_ended() {
    met(&["floods"], |_, channel| {
        let handles = table::count();
        for _ in 0..500 {
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"flood");
        }
        assert_eq!(table::count(), handles);
        // What this side sends is not read, and ends at its deadline; what comes meanwhile is kept, not lost.
        let late = channel.send_timeout(vec![0; 1 << 20], Duration::from_millis(300));
        assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"flood");
    });
}

fn a_ledger_that_lies_harms_the_liar_alone() {
    let event = Event::manual_reset().unwrap();
    met(&["says that it took all"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        // It is believed: the copy is in its own table, and stays there.
        channel.send(Message::new(b"").with("event", &event)).unwrap();
        assert_eq!(table::values_of(&event, child.id()).len(), 1);
    });
    met(&["says that it took none"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        let closed = channel.send(Message::new(b"").with("event", &event));
        assert!(matches!(closed, Err(Error::Closed { .. })), "{closed:?}");
        assert_eq!(table::values_of(&event, child.id()), []);
    });
    met(&["takes its objects back"], |_, channel| {
        let lost = channel.recv_timeout(SOON);
        assert!(matches!(lost, Err(Error::Closed { .. })), "{lost:?}");
    });
}

fn a_ledger_that_never_stands_still_breaks_nothing() {
    let event = Event::manual_reset().unwrap();
    for _ in 0..5 {
        met(&["scribbles"], |_, channel| {
            for _ in 0..200 {
                let sent = channel.send_timeout(Message::new(b"").with("event", &event), SOON);
                assert!(matches!(sent, Ok(()) | Err(Error::Closed { .. })), "{sent:?}");
                let came = channel.recv_timeout(SOON);
                assert!(matches!(came, Ok(_) | Err(Error::Closed { .. })), "{came:?}");
            }
        });
    }
}
