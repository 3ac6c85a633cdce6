/*
 * A process that inherits all inheritable handles, as other libraries create it. Searches its handle table for leaked
 * events, and prints their number.
 */
#include <windows.h>
#include <stdio.h>

int wmain(void)
{
    ULONG_PTR value;
    int caught = 0;

    /* ResetEvent succeeds for events only. The process's own table is small. */
    for (value = 4; value < 0x4000; value += 4) {
        DWORD flags;
        if (GetHandleInformation((HANDLE)value, &flags) && (flags & HANDLE_FLAG_INHERIT) && ResetEvent((HANDLE)value))
            caught++;
    }
    printf("%d\n", caught);
    return 0;
}
