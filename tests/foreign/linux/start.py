"""How a process gets its first endpoint: from its parent, or from a listener. Written from docs/protocol.md."""

import os
import socket
import sys

if sys.version_info < (3, 10):
    sys.exit("too old")

import channel


def inherited():
    """Returns the inherited descriptors by name; the manifest must be for this process."""
    version, meant_for, *objects = os.environ["HANDOVER_INHERITED"].split(" ")
    assert version == "1" and len(meant_for) == 10 and int(meant_for) == os.getpid(), (version, meant_for)
    pairs = (word.split("=", 1) for word in objects)
    return {name: int(value) for value, name in pairs}


def parent():
    """Returns the endpoint of the channel to the parent."""
    return channel.Channel(inherited()["handover/channel"])


def connected(path):
    """Connects to the listener with this path, and returns the client's endpoint."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    endpoint = channel.Channel(connection.detach())
    endpoint.check_version(endpoint.read(3))
    assert endpoint.read(1) == b"W"
    return endpoint
