"""A child that sends sealed memory, and memory that it can still shrink."""

import fcntl
import os

import start

F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW = 1033, 2, 4

endpoint = start.parent()
sealed, loose = [os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING) for name in ("sealed", "loose")]
for memory in (sealed, loose):
    os.ftruncate(memory, 8192)
    os.pwrite(memory, b"from Python", 5000)
fcntl.fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)
endpoint.send(b"", [("sealed", sealed), ("loose", loose)])
assert endpoint.receive()[0] == b"seen"
assert os.pread(sealed, 9, 0) == b"from Rust"
assert endpoint.receive() is None
