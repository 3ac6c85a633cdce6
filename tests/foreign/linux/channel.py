"""A channel's endpoint, written from docs/protocol.md, with Python's standard library only.

It is for peers that are trusted: it checks neither the names of objects nor the length of their table.
"""

import os
import socket
import struct

VERSION = 1
HEADER = struct.Struct("<BBBHIIQQ")
MESSAGE, CALL, REPLY, GREETING, ASKS, LEAVES = 0, 1, 2, 3, 1, 2


class OtherVersion(Exception):
    """The peer speaks the version that is this exception's argument."""


class Channel:
    def __init__(self, number, has_travelled=False):
        """Owns the socket with this number. An endpoint that came with a message has travelled."""
        self.socket = socket.socket(fileno=number)
        # The numbers of the next messages, and what has arrived: replies by their calls, and messages under None.
        self.sent, self.next, self.arrived = 0, None if has_travelled else 0, {None: []}
        if has_travelled:
            self.send(b"", (), GREETING, ASKS)

    def send(self, data, objects=(), frame_type=MESSAGE, flags=0, call=0):
        """Sends bytes and named descriptors."""
        table = b"".join(bytes([len(name.encode())]) + name.encode() for name, _ in objects)
        header = HEADER.pack(frame_type, len(objects), 0, flags, len(table), len(data), self.sent, call)
        # A blocking socket sends everything.
        socket.send_fds(self.socket, [b"HO%c" % VERSION, header, table, data], [number for _, number in objects])
        self.sent += frame_type != GREETING

    def reply(self, call, data, objects=()):
        self.send(data, objects, REPLY, call=call)

    def call(self, data, objects=()):
        """Sends a call, and returns its reply as `receive` does."""
        call = int.from_bytes(os.urandom(8), "little")
        self.arrived[call] = []
        self.send(data, objects, CALL, call=call)
        reply = self.receive(call)
        del self.arrived[call]
        return reply

    def receive(self, call=None):
        """Returns the next message: its bytes, its descriptors by name, and the call to reply to. At end of file, None."""
        while not self.arrived[call] and self.read_frame():
            pass
        return self.arrived[call].pop(0) if self.arrived[call] else None

    def read_frame(self):
        """Reads a frame, and keeps its message. Returns False at end of file."""
        # The descriptors come with the first byte.
        start, numbers, flags, _ = socket.recv_fds(self.socket, 1, 253, socket.MSG_CMSG_CLOEXEC)
        if not start:
            return False
        self.check_version(start + self.read(2))
        frame_type, count, _, flag, _, size, number, call = HEADER.unpack(self.read(HEADER.size))
        assert frame_type <= GREETING and count == len(numbers) and not flags & socket.MSG_CTRUNC
        if frame_type == GREETING:
            self.next = None if flag == LEAVES else number
            return True
        assert self.next in (None, number), (self.next, number)
        self.next = number + 1
        names = [self.read(self.read(1)[0]).decode() for _ in range(count)]
        message = self.read(size), dict(zip(names, numbers)), call if frame_type == CALL else None
        if frame_type != REPLY or call in self.arrived:
            self.arrived[call if frame_type == REPLY else None].append(message)
        else:
            list(map(os.close, numbers))
        return True

    def check_version(self, start):
        """Checks the first three bytes that a process sends."""
        assert start[:2] == b"HO", start
        if start[2] != VERSION:
            if self.sent == 0:
                self.socket.sendall(b"HO%cV" % VERSION)
            self.socket.shutdown(socket.SHUT_WR)
            raise OtherVersion(start[2])

    def read(self, size):
        data = self.socket.recv(size, socket.MSG_WAITALL)
        assert len(data) == size, "the end of file is in a frame"
        return data
