"""The child of the exercise "inheritance". Its argument is the value of an inherited handle. Do the steps marked TODO in
main, in their order.

Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong usage; 3 the deadline passed; 4 not done yet.
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


def main(arguments):
    if len(arguments) != 1:
        print("usage: child.py HANDLE", file=sys.stderr)
        return 2
    code = 0

    # Step 1. TODO: make a number of arguments[0]. If it isn't one, return 2.

    # Step 2. TODO: wait for the event, at most ten seconds: WaitForSingleObject on Windows, select.select and then
    # os.eventfd_read on Linux. If the deadline passes, return 3; if a call fails, 1.

    # Step 3. TODO: close the handle.

    # TODO: delete these two lines when all steps are done.
    print(f"child: not done yet: do the steps marked TODO in child.py; its argument is {arguments[0]}", file=sys.stderr)
    code = 4

    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        sys.exit(f"child: {error}")
