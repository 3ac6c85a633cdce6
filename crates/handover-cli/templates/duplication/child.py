"""The child of the exercise "duplication". On Windows its standard input is a pipe, from which it reads a handle value.
On Linux it is a Unix socket, from which it receives a descriptor. Do the steps marked TODO in main, in their order.

Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong input; 3 the deadline passed; 4 not done yet.
"""

import os
import sys

if os.name == "nt":
    # With the types of their arguments, ctypes passes handles in full width. WaitForSingleObject returns 0 for a signal,
    # and 0x102 (WAIT_TIMEOUT) if the deadline has passed.
    import ctypes
    from ctypes import wintypes

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.WaitForSingleObject.argtypes = [wintypes.HANDLE, wintypes.DWORD]
    kernel32.WaitForSingleObject.restype = wintypes.DWORD
    kernel32.CloseHandle.argtypes = [wintypes.HANDLE]


def main():
    code = 0

    # Step 1. TODO: acquire the handle. On Windows, read a line from standard input, and make a number of it; if it isn't
    # one, return 2. On Linux, receive a descriptor with socket.recv_fds from socket.socket(fileno=0), after settimeout(10);
    # if the message carries none, return 1.

    # Step 2. TODO: wait for the event, at most ten seconds: WaitForSingleObject on Windows, select.select and then
    # os.eventfd_read on Linux. If the deadline passes, return 3; if a call fails, 1.

    # Step 3. TODO: close the handle.

    # TODO: delete these two lines when all steps are done.
    print("child: not done yet: do the steps marked TODO in child.py", file=sys.stderr)
    code = 4

    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"child: {error}")
