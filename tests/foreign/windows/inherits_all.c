/*
 * A process created with inheritance of all, as other libraries create them: looks through its handle table for
 * events that nobody meant for it, and prints how many it has.
 */
#include <windows.h>
#include <stdio.h>

int wmain(void)
{
    ULONG_PTR value;
    int caught = 0;

    /* An event is the only kind that can be reset. Our own table is small. */
    for (value = 4; value < 0x4000; value += 4) {
        DWORD flags;
        if (GetHandleInformation((HANDLE)value, &flags) && (flags & HANDLE_FLAG_INHERIT) && ResetEvent((HANDLE)value))
            caught++;
    }
    printf("%d\n", caught);
    return 0;
}
