"""A child that calls its parent, and receives what else the parent sends."""

import os

import start

endpoint = start.parent()
event = os.eventfd(0, os.EFD_CLOEXEC)
data, objects, call = endpoint.call(b"set it", [("mine", event)])
assert (data, call) == (b"it is set", None), (data, call)
assert os.eventfd_read(event) == 1
os.eventfd_write(objects["theirs"], 1)
assert endpoint.receive() == (b"sent before the reply", {}, None)
assert endpoint.call(b"again")[0] == b"done"
# The call's reply was the only one, so the second reply to the first call is gone.
assert endpoint.receive() is None
