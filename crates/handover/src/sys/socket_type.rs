//! The types of sockets.

/// A type of sockets, as std's types distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "std has the Unix sockets on Linux only")]
pub(crate) enum SocketType {
    TcpListener,
    TcpStream,
    Udp,
    UnixDatagram,
    UnixListener,
    UnixStream,
    UnixSequence,
    Other,
}

impl SocketType {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TcpListener => "TCP listener",
            Self::TcpStream => "TCP stream",
            Self::Udp => "UDP socket",
            Self::UnixDatagram => "Unix datagram socket",
            Self::UnixListener => "Unix listener",
            Self::UnixStream => "Unix stream",
            Self::UnixSequence => "Unix socket of sequenced packets",
            Self::Other => "socket of a type that std doesn't have",
        }
    }
}
