/*
 * The floor of handing objects or bytes to a running process: one sendmsg with all descriptors, one recvmsg over there,
 * and an answer of one byte where one is asked for. As many bytes go along as are said, because ours says the names too;
 * the first eight say how many there are and what is to be done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MOST = 253, ROOM = 2 << 20, ANSWER = 1, KEEP = 2 };

static char bytes[ROOM];

/* Two ends that are connected. */
int floor_pair(int *ends)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
}

/* Lets both ends wait for no longer than half a second at a time. */
int floor_let_end(const int *ends)
{
    const struct timeval time = { 0, 500000 };
    return setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0
        && setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0;
}

/* Receives, again and again if nothing comes for so long. */
static ssize_t receive(int socket, struct msghdr *message)
{
    ssize_t came;
    do
        came = recvmsg(socket, message, MSG_CMSG_CLOEXEC);
    while (came < 0 && errno == EAGAIN);
    return came;
}

/* The parent: hands COUNT descriptors over in a message of LENGTH bytes, and waits for the answer if it asks for one. */
int floor_hand_over(int socket, const int *objects, unsigned count, unsigned length, unsigned what)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))];
    struct iovec part = { bytes, length };
    struct msghdr message = { 0 };
    struct cmsghdr *first;
    ssize_t sent;
    char answer;

    memcpy(bytes, &length, 4);
    memcpy(bytes + 4, &what, 4);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        first = CMSG_FIRSTHDR(&message);
        first->cmsg_level = SOL_SOCKET;
        first->cmsg_type = SCM_RIGHTS;
        first->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(first), objects, count * sizeof(int));
    }
    for (sent = sendmsg(socket, &message, MSG_NOSIGNAL); 0 < sent && sent < (ssize_t)length;) {
        ssize_t more = send(socket, bytes + sent, length - sent, MSG_NOSIGNAL);
        sent = more < 0 ? more : sent + more;
    }
    return sent == (ssize_t)length && (!(what & ANSWER) || recv(socket, &answer, 1, 0) == 1);
}

static int *kept;
static size_t count_kept, room_kept;

static void keep(int object)
{
    if (count_kept == room_kept) {
        room_kept = room_kept ? 2 * room_kept : 256;
        kept = realloc(kept, room_kept * sizeof *kept);
        if (kept == NULL)
            abort();
    }
    kept[count_kept++] = object;
}

/* The child: takes what comes, closes it and all that was kept or keeps it, until the other end is closed. */
void floor_take_over(int socket)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))];
    char answer = 0;
    size_t have = 0;

    for (;;) {
        struct iovec part = { bytes + have, sizeof bytes - have };
        struct msghdr message = { 0 };
        struct cmsghdr *each;
        unsigned length, what;
        ssize_t came;

        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        came = receive(socket, &message);
        if (came <= 0)
            return;
        have += came;
        for (each = CMSG_FIRSTHDR(&message); each != NULL; each = CMSG_NXTHDR(&message, each)) {
            const int *objects = (const int *)CMSG_DATA(each);
            size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;
            for (i = 0; i < count; i++)
                keep(objects[i]);
        }
        while (have >= 8 && (memcpy(&length, bytes, 4), have >= length)) {
            memcpy(&what, bytes + 4, 4);
            if (!(what & KEEP))
                while (count_kept > 0)
                    close(kept[--count_kept]);
            if ((what & ANSWER) && send(socket, &answer, 1, MSG_NOSIGNAL) != 1)
                return;
            have -= length;
            memmove(bytes, bytes + length, have);
        }
    }
}
