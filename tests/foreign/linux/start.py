"""How a process gets its first endpoint: from its parent, or from a listener. Written from docs/protocol.md."""

import os
import socket
import struct
import sys

if sys.version_info < (3, 10):
    sys.exit("too old")

import channel


def inherited():
    """Returns the inherited descriptors by name; the manifest must be for this process."""
    version, meant_for, *objects = os.environ["HANDOVER_INHERITED"].split(" ")
    numbers = {name: int(value) for value, name in (word.split("=", 1) for word in objects)}
    if meant_for.startswith("@"):
        is_meant = is_proven(numbers.pop("handover/recipient"), int(meant_for[1:], 16))
    else:
        is_meant = len(meant_for) == 10 and int(meant_for) == os.getpid()
    assert version == "1" and is_meant, (version, meant_for)
    return numbers


def is_proven(number, nonce):
    """Returns whether this process made the proof, before it executed its program."""
    with socket.socket(fileno=number) as proof:
        content = proof.recv(17, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        process, _, _ = struct.unpack("3i", proof.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return content == nonce.to_bytes(16, "little") and process == os.getpid()


def parent():
    """Returns the endpoint of the channel to the parent."""
    return channel.Channel(inherited()["handover/channel"])


def connected(path):
    """Connects to the listener with this path, and returns the client's endpoint."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    endpoint = channel.Channel(connection.detach())
    welcome = endpoint.socket.recv(4)
    endpoint.check_version(welcome)
    assert welcome[3:] == b"W"
    return endpoint
