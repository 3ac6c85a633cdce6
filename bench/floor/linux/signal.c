/*
 * The floor for a signal to another process and back, with a timeout: write to an eventfd in one process, ppoll and
 * read in the other.
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

int floor_wait_for(int event, unsigned milliseconds)
{
    const struct timespec timeout = { milliseconds / 1000, milliseconds % 1000 * 1000000L };
    struct pollfd descriptor = { event, POLLIN, 0 };
    uint64_t count;
    return ppoll(&descriptor, 1, &timeout, NULL) == 1 && read(event, &count, sizeof count) == sizeof count;
}

/* In the other process: answers each signal with a signal, until none arrives within the timeout. */
void floor_echo(int request, int response, unsigned milliseconds)
{
    while (floor_wait_for(request, milliseconds) && floor_set(response))
        ;
}
