"""A process that speaks version 2: a child that sends first, a child that receives first, or a client."""

import sys

import channel
import start

first = sys.argv[1]
inherited = None if first == "connects" else start.inherited()
channel.VERSION = 2
endpoint = None
try:
    if first == "connects":
        start.connected(sys.argv[2])
    endpoint = channel.Channel(inherited["handover/channel"])
    if first == "sends":
        endpoint.send(b"in version 2")
    endpoint.receive()
except channel.OtherVersion as other:
    version, letter = other.args
    assert version == 1, other
    # A notice has this letter where a frame has its type.
    assert (letter == b"V") == (first == "sends"), other
else:
    sys.exit("the peer speaks version 2 too")
