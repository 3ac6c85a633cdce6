"""A child that takes an event out of a message, and waits for it."""

import os
import select

import channel

end = channel.Channel(channel.inherited()["handover/channel"])
data, objects = end.receive()
assert data == b"wait for it" and list(objects) == ["ready"], (data, objects)
event = objects["ready"]
assert select.select([event], [], [], 0.2)[0] == [], "it isn't set yet"
end.send(b"waiting")
assert select.select([event], [], [], 10)[0] == [event], "nobody has set it"
assert os.eventfd_read(event) == 1
# And it goes on being one for both.
os.eventfd_write(event, 1)
end.send(b"set")
assert end.receive() is None
