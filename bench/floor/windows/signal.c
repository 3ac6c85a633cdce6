/*
 * The floor for a signal to another process and back, with a timeout: SetEvent in one process, WaitForSingleObject in
 * the other.
 */
#include <windows.h>

int floor_set(HANDLE event)
{
    return SetEvent(event);
}

int floor_wait_for(HANDLE event, unsigned milliseconds)
{
    return WaitForSingleObject(event, milliseconds) == WAIT_OBJECT_0;
}

/* In the other process: answers each signal with a signal, until none arrives within the timeout. */
void floor_echo(HANDLE request, HANDLE response, unsigned milliseconds)
{
    while (floor_wait_for(request, milliseconds) && floor_set(response))
        ;
}
