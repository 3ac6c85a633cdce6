"""The parent of the exercise "duplication". Do the steps marked TODO in main, in their order.

Exit codes: 0 all steps are done, and the child has seen the signal; 1 a call failed; 3 a deadline passed; 4 not done
yet; otherwise the child's own.
"""

import os
import socket
import subprocess
import sys

# How long the parent waits for the child's end, in seconds: longer than the child waits for the signal.
DEADLINE = 15
# In a virtual environment on Windows, sys.executable starts another process, which would be the child instead.
PYTHON = getattr(sys, "_base_executable", sys.executable)

if os.name == "nt":
    # With the types of their arguments, ctypes passes handles in full width. Check a result with
    # `if not result: raise ctypes.WinError(ctypes.get_last_error())`.
    import ctypes
    from ctypes import wintypes

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateEventW.argtypes = [wintypes.LPVOID, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR]
    kernel32.CreateEventW.restype = wintypes.HANDLE
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    kernel32.DuplicateHandle.argtypes = [
        wintypes.HANDLE, wintypes.HANDLE, wintypes.HANDLE, wintypes.LPHANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.DWORD
    ]
    kernel32.SetEvent.argtypes = [wintypes.HANDLE]
    kernel32.CloseHandle.argtypes = [wintypes.HANDLE]


def start_child():
    """Starts child.py from this file's folder. Returns the child, and what leads to its standard input: the writing end
    of a pipe on Windows, one end of a Unix socket on Linux.
    """
    child = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child.py")
    if os.name == "nt":
        process = subprocess.Popen([PYTHON, child], stdin=subprocess.PIPE)
        return process, process.stdin
    near, far = socket.socketpair()
    with far:
        return subprocess.Popen([PYTHON, child], stdin=far), near


def wait_for_exit(child):
    """Waits until the child exits, and returns its exit code. Ends it at the deadline."""
    try:
        return child.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        print(f"parent: the child didn't exit within {DEADLINE} s, so it is ended", file=sys.stderr)
        child.kill()
        child.wait()
        return 3


def main():
    # Step 1. TODO: create an event without a name: CreateEventW on Windows, os.eventfd on Linux. Its handle must not be
    # inheritable (os.EFD_CLOEXEC).

    # Step 2: start the child. It inherits its standard input and no handle to the event.
    child, channel = start_child()
    with channel:
        # Step 3. TODO: on Windows, duplicate the handle into the child (DuplicateHandle; the target process is
        # int(child._handle)), and write the duplicate's value to the pipe, as one line. On Linux, send the descriptor with
        # socket.send_fds.
        pass

    # Step 4. TODO: signal the event.

    # Step 5: wait until the child exits.
    code = wait_for_exit(child)

    # Step 6. TODO: close the handle to the event.

    # TODO: delete these two lines when all steps are done.
    print("parent: not done yet: do the steps marked TODO in parent.py", file=sys.stderr)
    code = 4

    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"parent: {error}")
