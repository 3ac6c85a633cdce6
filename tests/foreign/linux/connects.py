"""A client of a listener: it receives an event, sets it, and sends an event of its own."""

import os
import sys

import start

endpoint = start.connected(sys.argv[1])
data, objects, _ = endpoint.receive()
assert data == b"to a stranger", data
os.eventfd_write(objects["theirs"], 1)
own = os.eventfd(0, os.EFD_CLOEXEC)
endpoint.send(data, [("own", own)])
assert os.eventfd_read(own) == 1
endpoint.send(b"woken")
assert endpoint.receive() is None
