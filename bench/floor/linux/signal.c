/*
 * The floor of a signal to another process and back, with a deadline: write to an eventfd; ppoll and read over there.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

int floor_set(int event)
{
    uint64_t one = 1;
    return write(event, &one, sizeof one) == sizeof one;
}

int floor_await(int event, unsigned milliseconds)
{
    const struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
    struct pollfd polled = { event, POLLIN, 0 };
    uint64_t count;
    return ppoll(&polled, 1, &time, NULL) == 1 && read(event, &count, sizeof count) == sizeof count;
}

/* The other process: answers each signal by one, until none comes for so long. */
void floor_echo(int mine, int theirs, unsigned milliseconds)
{
    while (floor_await(mine, milliseconds) && floor_set(theirs))
        ;
}
