"""A child that receives an event, and waits for it."""

import os
import select

import start

endpoint = start.parent()
data, objects, _ = endpoint.receive()
assert data == b"wait for it" and list(objects) == ["ready"], (data, objects)
event = objects["ready"]
assert select.select([event], [], [], 0.2)[0] == [], "it isn't set yet"
endpoint.send(b"waiting")
assert select.select([event], [], [], 10)[0] == [event], "the parent hasn't set it"
assert os.eventfd_read(event) == 1
# The event stays shared by both processes.
os.eventfd_write(event, 1)
endpoint.send(b"set")
assert endpoint.receive() is None
