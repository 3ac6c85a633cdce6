/*
 * A child as the exercise describes it: its only argument is the number of an inherited event.
 * Ends with 0 when the event is signaled, 3 when it isn't within ten seconds, 1 when it is no descriptor.
 */
#include <poll.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct pollfd event = { .events = POLLIN };
    char *end;

    if (argc != 2)
        return 2;
    event.fd = (int)strtol(argv[1], &end, 10);
    if (*end != '\0' || end == argv[1])
        return 2;
    switch (poll(&event, 1, 10000)) {
    case 0:
        return 3;
    case 1:
        return event.revents & POLLIN ? 0 : 1;
    default:
        return 1;
    }
}
