"""A child with an endpoint that has travelled to it. Its peer greets it, and moves on to another process."""

import channel
import start

endpoint = channel.Channel(start.inherited()["travelled"], has_travelled=True)
assert endpoint.receive() == (b"any number is right", {}, None)
assert endpoint.receive() == (b"the number of the greeting", {}, None)
assert endpoint.receive() == (b"from another process", {}, None)
endpoint.send(b"three messages")
assert endpoint.receive() is None
