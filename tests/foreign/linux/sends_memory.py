"""A child that sends memory: some that it has sealed, and some that it can still take away."""

import fcntl
import os

import channel

F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW = 1033, 2, 4

end = channel.Channel(channel.inherited()["handover/channel"])
sealed, loose = [os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING) for name in ("sealed", "loose")]
for memory in (sealed, loose):
    os.ftruncate(memory, 8192)
    os.pwrite(memory, b"from Python", 5000)
fcntl.fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)
end.send(b"", [("sealed", sealed), ("loose", loose)])
assert end.receive()[0] == b"seen"
assert os.pread(sealed, 9, 0) == b"from Rust"
assert end.receive() is None
