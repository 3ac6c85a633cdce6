/*
 * A child as the exercise describes it. Its only argument is the number of an inherited event.
 * It exits with 0 when the event is signaled, with 3 after ten seconds, and with 1 if the number isn't a descriptor.
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
