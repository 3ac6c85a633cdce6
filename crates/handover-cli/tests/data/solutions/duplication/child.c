/*
 * The child of the exercise "duplication", solved in the template of `handover new`.
 *
 * Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong input; 3 the deadline passed.
 */

#ifdef _WIN32

#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    unsigned long number;
    HANDLE event;
    char line[32], *end;
    int code = 0;

    /* Step 1: read a line, and make a handle of its number. */
    if (fgets(line, sizeof line, stdin) == NULL) {
        fprintf(stderr, "child: expected a handle value on standard input, but it ended\n");
        return 2;
    }
    number = strtoul(line, &end, 10);
    if (end == line || (*end != '\n' && *end != '\r') || number == 0) {
        fprintf(stderr, "child: expected a handle value in decimal, but got %s\n", line);
        return 2;
    }
    event = ULongToHandle(number);

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

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Receives a message with a descriptor, within ten seconds. Returns the descriptor, or -1 if none came. */
static int receive_descriptor(int input)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec bytes = {&byte, 1};
    struct pollfd polled = {input, POLLIN, 0};
    struct msghdr message;
    struct cmsghdr *header;
    int descriptor;

    memset(&message, 0, sizeof message);
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (poll(&polled, 1, 10000) != 1 || recvmsg(input, &message, MSG_CMSG_CLOEXEC) != 1)
        return -1;
    header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS
        || header->cmsg_len != CMSG_LEN(sizeof descriptor))
        return -1;
    memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    return descriptor;
}

int main(void)
{
    struct pollfd polled;
    uint64_t count;
    int event, ready, code = 0;

    /* Step 1: receive a message with a descriptor from standard input. */
    event = receive_descriptor(0);
    if (event < 0) {
        fprintf(stderr, "child: expected a message with a descriptor on standard input, but none came\n");
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
