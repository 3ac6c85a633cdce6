"""Pairs of programs that share an event, in Python: pair.py NAME."""

import os
import select
import socket
import subprocess
import sys

name, role = sys.argv[1], sys.argv[2:]


def start(*words, **options):
    return subprocess.Popen([sys.executable, __file__, name, *map(str, words)], **options)


def wait_for(handle):
    if not select.select([handle], [], [], 5)[0]:
        sys.exit(3)
    data = os.read(handle, 8)
    os.close(handle)
    sys.exit(0 if data else 5)


if role[:1] == ["child"]:
    match name:
        case "pass-fds" | "no-pass-fds" | "popen-pipe":
            wait_for(int(role[1]))
        case "send-fds":
            with socket.socket(fileno=int(role[1])) as near:
                _, handles, _, _ = socket.recv_fds(near, 1, 1)
            wait_for(handles[0])
        case "fifo":
            wait_for(os.open(role[1], os.O_RDONLY))
        case "swallows-errors":
            try:
                os.eventfd_read(int(role[1]))
                os.close(int(role[1]))
            except OSError:
                pass
            sys.exit(0)

match name:
    case "pass-fds" | "no-pass-fds" | "swallows-errors":
        event = os.eventfd(0)
        passed = [] if name == "no-pass-fds" else [event]
        child = start("child", event, pass_fds=passed)
        os.eventfd_write(event, 1)
        result = child.wait()
        os.close(event)
    case "send-fds":
        event = os.eventfd(0)
        near, far = socket.socketpair()
        child = start("child", far.fileno(), pass_fds=[far.fileno()])
        far.close()
        socket.send_fds(near, [b"x"], [event])
        os.eventfd_write(event, 1)
        result = child.wait()
        near.close()
        os.close(event)
    case "fifo":
        path = f"/tmp/handover-pair-{os.getpid()}"
        if os.path.exists(path):
            os.unlink(path)
        os.mkfifo(path)
        child = start("child", path)
        event = os.open(path, os.O_WRONLY)
        os.unlink(path)
        os.write(event, b"x")
        result = child.wait()
        os.close(event)
    case "popen-pipe":
        child = start("child", 0, stdin=subprocess.PIPE)
        child.stdin.write(b"x")
        child.stdin.flush()
        result = child.wait()
        child.stdin.close()
sys.exit(result)
