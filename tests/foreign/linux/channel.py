"""A channel's end as the documentation of the wire format has it, with Python's standard library alone."""

import os
import socket
import struct
import sys

HEADER = struct.Struct("<2sBBIIQ")


def inherited():
    """What the parent handed down, by name; it must be meant for this process."""
    version, meant_for, *objects = os.environ["HANDOVER_INHERITED"].split(" ")
    assert version == "1" and len(meant_for) == 10 and int(meant_for) == os.getpid(), (version, meant_for)
    pairs = (word.split("=", 1) for word in objects)
    return {name: int(value) for value, name in pairs}


class Channel:
    def __init__(self, number):
        self.socket = socket.socket(fileno=number)
        self.socket.settimeout(10)
        self.sent = 0
        self.received = 0

    def send(self, data, objects=()):
        """Sends bytes, and descriptors by their names."""
        table = b"".join(bytes([len(name)]) + name.encode() for name, _ in objects)
        frame = HEADER.pack(b"HO", 1, len(objects), len(table), len(data), self.sent) + table + data
        self.sent += 1
        sent = socket.send_fds(self.socket, [frame], [number for _, number in objects])
        assert sent == len(frame), sent

    def receive(self):
        """The next message: its bytes, and its descriptors by name. None at the end."""
        start, numbers, flags, _ = socket.recv_fds(self.socket, HEADER.size, 253)
        if not start:
            return None
        assert not flags & socket.MSG_CTRUNC
        magic, version, count, table_size, size, number = HEADER.unpack(start)
        assert (magic, version, number) == (b"HO", 1, self.received), start
        assert len(numbers) == count, (numbers, count)
        self.received += 1
        rest = b""
        while len(rest) < table_size + size:
            part = self.socket.recv(table_size + size - len(rest))
            assert part
            rest += part
        table, data = rest[:table_size], rest[table_size:]
        names = []
        while table:
            names.append(table[1:1 + table[0]].decode())
            table = table[1 + table[0]:]
        return data, dict(zip(names, numbers))


def connected(path):
    """A client's end of a channel to the listener behind this path."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.settimeout(10)
    channel = Channel(connection.detach())
    welcome = b""
    while len(welcome) < 4:
        part = channel.socket.recv(4 - len(welcome))
        assert part, "refused"
        welcome += part
    assert welcome == b"HO\0\x01", welcome
    return channel


if sys.version_info < (3, 10):
    sys.exit("too old")
