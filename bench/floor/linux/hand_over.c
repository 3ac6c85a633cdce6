/*
 * The floor for sending objects or bytes to a running process: one sendmsg with all descriptors, one recvmsg in the
 * receiver, and an answer of one byte if the message asks for one. The caller chooses the message's length, so that it
 * equals the length of handover's frame, which also contains names. The first eight bytes of a message are its length
 * and its flags.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAX_OBJECTS = 253, BUFFER_SIZE = 2 << 20, ANSWER = 1, KEEP = 2 };

static char bytes[BUFFER_SIZE];

/* Creates a pair of connected sockets. */
int floor_pair(int *sockets)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0;
}

/* Lets both sockets wait for no longer than half a second at a timeout. */
int floor_set_receive_timeout(const int *sockets)
{
    const struct timeval timeout = { 0, 500000 };
    return setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0
        && setsockopt(sockets[1], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0;
}

/* Receives a message, and tries again after each receive timeout. */
static ssize_t receive(int socket, struct msghdr *message)
{
    ssize_t received;
    do
        received = recvmsg(socket, message, MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EAGAIN);
    return received;
}

/* In the parent: sends COUNT descriptors in a message of LENGTH bytes. Waits for the answer if FLAGS asks for one. */
int floor_hand_over(int socket, const int *objects, unsigned count, unsigned length, unsigned flags)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_OBJECTS * sizeof(int))];
    struct iovec part = { bytes, length };
    struct msghdr message = { 0 };
    struct cmsghdr *first;
    ssize_t sent;
    char answer;

    memcpy(bytes, &length, 4);
    memcpy(bytes + 4, &flags, 4);
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
    return sent == (ssize_t)length && (!(flags & ANSWER) || recv(socket, &answer, 1, 0) == 1);
}

static int *kept;
static size_t kept_count, kept_capacity;

static void keep(int object)
{
    if (kept_count == kept_capacity) {
        kept_capacity = kept_capacity ? 2 * kept_capacity : 256;
        kept = realloc(kept, kept_capacity * sizeof *kept);
        if (kept == NULL)
            abort();
    }
    kept[kept_count++] = object;
}

/* Receives at most LENGTH bytes to BUFFER, and keeps the descriptors that come with them. */
static ssize_t receive_and_keep(int socket, char *buffer, size_t length)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_OBJECTS * sizeof(int))];
    struct iovec part = { buffer, length };
    struct msghdr message = { 0 };
    struct cmsghdr *header;
    ssize_t received;

    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    received = receive(socket, &message);
    if (received <= 0)
        return received;
    for (header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
        const int *objects = (const int *)CMSG_DATA(header);
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;
        for (i = 0; i < count; i++)
            keep(objects[i]);
    }
    return received;
}

/* In the child: receives one message, which has been sent already, and keeps its descriptors. */
int floor_receive_and_keep(int socket)
{
    return receive_and_keep(socket, bytes, sizeof bytes) > 0;
}

/* Closes all kept descriptors. */
void floor_close_kept(void)
{
    while (kept_count > 0)
        close(kept[--kept_count]);
}

/*
 * In the child: receives messages until the peer closes its socket. The descriptors of a message with KEEP stay open
 * until a message without KEEP arrives, which closes all of them, its own included.
 */
void floor_receive(int socket)
{
    char answer = 0;
    size_t filled = 0;

    for (;;) {
        unsigned length, flags;
        ssize_t received = receive_and_keep(socket, bytes + filled, sizeof bytes - filled);

        if (received <= 0)
            return;
        filled += received;
        while (filled >= 8 && (memcpy(&length, bytes, 4), filled >= length)) {
            memcpy(&flags, bytes + 4, 4);
            if (!(flags & KEEP))
                floor_close_kept();
            if ((flags & ANSWER) && send(socket, &answer, 1, MSG_NOSIGNAL) != 1)
                return;
            filled -= length;
            memmove(bytes, bytes + length, filled);
        }
    }
}
