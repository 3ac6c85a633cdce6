"""A child that answers calls with events of its own, and sends other messages before its replies."""

import os
import select

import start

endpoint = start.parent()
own = None
while message := endpoint.receive():
    data, objects, call = message
    if data == b"an event, please":
        os.eventfd_write(objects["theirs"], 1)
        own = os.eventfd(0, os.EFD_CLOEXEC)
        endpoint.send(b"meanwhile")
        endpoint.reply(call ^ 1, b"to another call", [("own", own)])
        endpoint.reply(call, b"here it is", [("own", own)])
    elif data == b"is it set?":
        assert select.select([own], [], [], 10)[0] == [own]
        endpoint.reply(call, b"yes")
    else:
        assert call is None
        endpoint.send(b"no call: " + data)
