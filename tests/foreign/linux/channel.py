"""A channel's endpoint, written from docs/protocol.md, with Python's standard library only.

It is for peers that are trusted: it checks neither the names of objects nor the length of their table.
"""

import os
import socket
import struct

VERSION = 1
HEADER = struct.Struct("<2sBBBBHIIQQ")
PACKET = 200 * 1024
MESSAGE, CALL, REPLY, GREETING, ASKS, LEAVES = 0, 1, 2, 3, 1, 2
NO_SEMAPHORES = 4


class OtherVersion(Exception):
    """The peer speaks the version that is this exception's first argument. The second one is the byte behind it."""


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
        sizes = len(table), len(data)
        header = HEADER.pack(b"HO", VERSION, frame_type, len(objects), 0, flags, *sizes, self.sent, call)
        frame, numbers = header + table + data, [number for _, number in objects]
        # The descriptors go with the first packet.
        for start in range(0, len(frame), PACKET):
            socket.send_fds(self.socket, [frame[start:start + PACKET]], [] if start else numbers)
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
        # The descriptors come with the first packet.
        frame, numbers, flags, _ = socket.recv_fds(self.socket, PACKET, 253, socket.MSG_CMSG_CLOEXEC)
        if not frame:
            return False
        self.check_version(frame)
        frame = self.read(frame, HEADER.size)
        _, _, frame_type, count, _, flag, table, size, number, call = HEADER.unpack_from(frame)
        frame = self.read(frame, HEADER.size + table + size)
        assert frame_type <= GREETING and count == len(numbers) and not flags & socket.MSG_CTRUNC
        if frame_type == GREETING:
            self.next = None if flag == LEAVES else number
            return True
        assert self.next in (None, number), (self.next, number)
        self.next = number + 1
        names, place = [], HEADER.size
        for _ in range(count):
            names.append(frame[place + 1:place + 1 + frame[place]].decode())
            place += 1 + frame[place]
        message = frame[place:], dict(zip(names, numbers)), call if frame_type == CALL else None
        if frame_type != REPLY or call in self.arrived:
            self.arrived[call if frame_type == REPLY else None].append(message)
        else:
            list(map(os.close, numbers))
        return True

    def check_version(self, start):
        """Checks the first packet that a process sends."""
        assert start[:2] == b"HO", start
        if start[2] != VERSION:
            if self.sent == 0:
                self.socket.send(b"HO%cV" % VERSION)
            self.socket.shutdown(socket.SHUT_WR)
            raise OtherVersion(start[2], start[3:4])

    def read(self, frame, size):
        """Reads the packets of a frame until it has this size."""
        while len(frame) < size:
            packet = self.socket.recv(PACKET)
            assert packet, "the end of file is in a frame"
            frame += packet
        return frame
