/*
 * The floor for one thread that serves many sockets: epoll_wait, recvmsg on each socket that it reports, and an answer
 * of one byte. The client is the sender of hand_over.c.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_REPORTED = 64, MAX_OBJECTS = 253, BUFFER_SIZE = 4096 };

/* Creates an epoll descriptor with these sockets, each under its index. Returns -1 if that fails. */
int floor_set_of(const int *sockets, unsigned count)
{
    int set = epoll_create1(EPOLL_CLOEXEC);
    unsigned i;

    for (i = 0; set >= 0 && i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = i };
        if (epoll_ctl(set, EPOLL_CTL_ADD, sockets[i], &event) != 0) {
            close(set);
            return -1;
        }
    }
    return set;
}

/* Receives a message, without waiting, and answers it. The message is small enough to arrive in one piece. */
static int answer(int socket)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_OBJECTS * sizeof(int))];
    char bytes[BUFFER_SIZE], answer = 0;
    struct iovec part = { bytes, sizeof bytes };
    struct msghdr message = { 0 };

    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    return recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) > 0
        && send(socket, &answer, 1, MSG_NOSIGNAL) == 1;
}

/* Answers each message, until a peer closes its socket or none arrives within the timeout. */
void floor_serve(int set, const int *sockets, unsigned milliseconds)
{
    struct epoll_event events[MAX_REPORTED];
    int count, i;

    while ((count = epoll_wait(set, events, MAX_REPORTED, (int)milliseconds)) > 0)
        for (i = 0; i < count; i++)
            if (!answer(sockets[events[i].data.u64]))
                return;
}
