"""A client of a listener: it gets an event, sets it, and sends one of its own."""

import os
import sys

import channel

end = channel.connected(sys.argv[1])
data, objects = end.receive()
assert data == b"to a stranger", data
os.eventfd_write(objects["theirs"], 1)
own = os.eventfd(0, os.EFD_CLOEXEC)
end.send(data, [("own", own)])
assert os.eventfd_read(own) == 1
end.send(b"woken")
assert end.receive() is None
