/*
 * The floor of handing objects to a running process: one sendmsg with all descriptors, one recvmsg over there; the
 * receiver closes them and answers with one byte. As many bytes go along as are said, because ours says the names too.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 253, ROOM = 65536 };

/* Two ends that are connected. */
int floor_pair(int *ends)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
}

/* The parent: hands COUNT descriptors over and waits for the answer. */
int floor_hand_over(int socket, const int *objects, unsigned count, unsigned length)
{
    static char bytes[ROOM];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))];
    struct iovec part = { bytes, length };
    struct msghdr message = { 0 };
    struct cmsghdr *first;
    char answer;

    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    first = CMSG_FIRSTHDR(&message);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(first), objects, count * sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)length && recv(socket, &answer, 1, 0) == 1;
}

/* The child: takes what comes, closes it and answers, until the other end is closed. */
void floor_take_over(int socket)
{
    static char bytes[ROOM];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))];
    char answer = 0;

    for (;;) {
        struct iovec part = { bytes, sizeof bytes };
        struct msghdr message = { 0 };
        struct cmsghdr *each;

        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) <= 0)
            return;
        for (each = CMSG_FIRSTHDR(&message); each != NULL; each = CMSG_NXTHDR(&message, each)) {
            const int *objects = (const int *)CMSG_DATA(each);
            size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;
            for (i = 0; i < count; i++)
                close(objects[i]);
        }
        if (send(socket, &answer, 1, MSG_NOSIGNAL) != 1)
            return;
    }
}
