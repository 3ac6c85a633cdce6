"""A channel's endpoint, written from the documentation of the wire format, with Python's standard library only."""

import os
import socket
import struct
import sys

HEADER = struct.Struct("<2sBBBBHIIQQ")


def inherited():
    """Returns the inherited descriptors by name; the manifest must be for this process."""
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
        """Sends bytes and named descriptors."""
        table = b"".join(bytes([len(name)]) + name.encode() for name, _ in objects)
        frame = HEADER.pack(b"HO", 1, 0, len(objects), 0, 0, len(table), len(data), self.sent, 0) + table + data
        self.sent += 1
        sent = socket.send_fds(self.socket, [frame], [number for _, number in objects])
        assert sent == len(frame), sent

    def receive(self):
        """Returns the next message, as its bytes and its descriptors by name; None at end of file."""
        start, numbers, flags, _ = socket.recv_fds(self.socket, HEADER.size, 253)
        if not start:
            return None
        assert not flags & socket.MSG_CTRUNC
        magic, version, _, count, _, _, table_size, size, number, _ = HEADER.unpack(start)
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
    """Connects to the listener with this path, and returns the client's endpoint."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.settimeout(10)
    channel = Channel(connection.detach())
    welcome = b""
    while len(welcome) < 4:
        part = channel.socket.recv(4 - len(welcome))
        assert part, "refused"
        welcome += part
    assert welcome == b"HO\x01W", welcome
    return channel


if sys.version_info < (3, 10):
    sys.exit("too old")
