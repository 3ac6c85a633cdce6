"""A child that creates an event and sends it to its parent."""

import os
import select

import channel
import start

endpoint = start.parent()
event = os.eventfd(0, os.EFD_CLOEXEC)
semaphore = os.eventfd(3, os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
endpoint.send(b"from Python", [("theirs", event), ("three places", semaphore)])
assert select.select([event], [], [], 10)[0] == [event], "the parent hasn't set it"
assert os.eventfd_read(event) == 1
os.eventfd_write(event, 5)
endpoint.send(b"set five times")
# The flag spares the receiver the question for the mode.
endpoint.send(b"", [("set", event)], flags=channel.NO_SEMAPHORES)
assert endpoint.receive() is None
