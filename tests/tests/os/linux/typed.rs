//! Tests of values with sockets inside.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use handover::{Carried, Channel, Error, Message};
use handover_tests::{Suite, table, tests, until};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite =
    Suite { name: "typed", tests: tests![sockets_travel_in_values], roles: tests![] };

fn sockets_travel_in_values() {
    type Sockets = (Carried<TcpListener>, Carried<TcpStream>, Carried<UdpSocket>);
    type UnixSockets = (Carried<UnixListener>, Carried<UnixStream>, Carried<UnixDatagram>);
    let before = table::count();
    let (one, other) = Channel::pair().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let value: Sockets = (listener.into(), client.into(), udp.into());
    let (near, far) = UnixStream::pair().unwrap();
    let folder = std::env::temp_dir().join(format!("handover-typed-{}", std::process::id()));
    let unix = UnixListener::bind(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    let unix: UnixSockets = (unix.into(), near.into(), UnixDatagram::unbound().unwrap().into());
    for (from, to) in [(&one, &other), (&other, &one)] {
        let both = (&value, &unix);
        from.send(Message::from_value(&both).unwrap()).unwrap();
        let (arrived, unix): (Sockets, UnixSockets) = to.recv_timeout(SOON).unwrap().into_value().unwrap();
        assert_eq!(arrived.0.local_addr().unwrap(), value.0.local_addr().unwrap());
        assert_eq!(arrived.1.peer_addr().unwrap(), value.0.local_addr().unwrap());
        assert_eq!(arrived.2.local_addr().unwrap(), value.2.local_addr().unwrap());
        (&*unix.1).write_all(b"x").unwrap();
        let mut byte = [0];
        (&far).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        let stream: UnixStream = unix.1.into_inner();
        drop(stream);
    }
    // Each type accepts only its own type of socket.
    one.send(Message::from_value(&value.0).unwrap()).unwrap();
    let outcome = other.recv_timeout(SOON).unwrap().into_value::<Carried<TcpStream>>();
    assert!(matches!(outcome, Err(Error::InvalidValue { .. })), "{outcome:?}");
    one.send(Message::from_value(&value.0).unwrap()).unwrap();
    drop(other.recv_timeout(SOON).unwrap().into_value::<Carried<OwnedFd>>().unwrap());
    drop((one, other, value, unix, far));
    until("the descriptors are closed", || table::count() <= before + 1);
}
