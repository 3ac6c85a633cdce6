/*
 * The child of the exercise "inheritance", solved in the template of `handover new`.
 *
 * Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong usage; 3 the deadline passed.
 */

#ifdef _WIN32

#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    unsigned long number;
    HANDLE event;
    char *end;
    int code = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: child.exe HANDLE\n");
        return 2;
    }

    /* Step 1: make a handle of the number. */
    number = strtoul(argv[1], &end, 10);
    if (end == argv[1] || *end != '\0' || number == 0) {
        fprintf(stderr, "child: expected a handle value in decimal, but got %s\n", argv[1]);
        return 2;
    }
    event = ULongToHandle(number);
    /* Programs that this one starts don't get it. */
    SetHandleInformation(event, HANDLE_FLAG_INHERIT, 0);

    /* Step 2: wait for the event. */
    switch (WaitForSingleObject(event, 10000)) {
    case WAIT_OBJECT_0:
        break;
    case WAIT_TIMEOUT:
        fprintf(stderr, "child: the event was not signaled within 10 s\n");
        code = 3;
        break;
    default:
        fprintf(stderr, "child: WaitForSingleObject failed: error %lu\n", GetLastError());
        code = 1;
    }

    /* Step 3: close the handle. */
    CloseHandle(event);

    return code;
}

#else

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct pollfd polled;
    uint64_t count;
    char *end;
    int event, ready, code = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: child DESCRIPTOR\n");
        return 2;
    }

    /* Step 1: read the descriptor's number. */
    event = (int)strtol(argv[1], &end, 10);
    if (end == argv[1] || *end != '\0' || event < 0) {
        fprintf(stderr, "child: expected a descriptor in decimal, but got %s\n", argv[1]);
        return 2;
    }
    /* Programs that this one starts don't get it. */
    if (fcntl(event, F_SETFD, FD_CLOEXEC) < 0) {
        perror("child: the argument is no descriptor");
        return 1;
    }

    /* Step 2: wait for the event, and read it. An eventfd returns eight bytes; another object returns another number. */
    polled.fd = event;
    polled.events = POLLIN;
    ready = poll(&polled, 1, 10000);
    if (ready == 0) {
        fprintf(stderr, "child: the event was not signaled within 10 s\n");
        code = 3;
    } else if (ready < 0 || read(event, &count, sizeof count) != (ssize_t)sizeof count) {
        perror("child: the wait for the event failed");
        code = 1;
    }

    /* Step 3: close the descriptor. */
    close(event);

    return code;
}

#endif
