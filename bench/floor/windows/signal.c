/*
 * The floor of a signal to another process and back, with a deadline: SetEvent; WaitForSingleObject over there.
 */
#include <windows.h>

int floor_set(HANDLE event)
{
    return SetEvent(event);
}

int floor_await(HANDLE event, unsigned milliseconds)
{
    return WaitForSingleObject(event, milliseconds) == WAIT_OBJECT_0;
}

/* The other process: answers each signal by one, until none comes for so long. */
void floor_echo(HANDLE mine, HANDLE theirs, unsigned milliseconds)
{
    while (floor_await(mine, milliseconds) && floor_set(theirs))
        ;
}
