/*
 * The floor for sending objects or bytes to a running process: DuplicateHandle for each object, one WriteFile with the
 * handle values, ReadFile in the receiver, and an answer of one byte if the message asks for one. The first eight bytes
 * of a message are its length and its flags.
 */
#include <windows.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OBJECTS = 253, BUFFER_SIZE = 2 << 20, ANSWER = 1, KEEP = 2, VALUES = 4 };

static union {
    unsigned words[2 + MAX_OBJECTS];
    char bytes[BUFFER_SIZE];
} buffer;

static int write_all(HANDLE pipe, const void *bytes, DWORD length)
{
    DWORD done;
    return WriteFile(pipe, bytes, length, &done, NULL) && done == length;
}

static int send_buffer(HANDLE to, HANDLE from, unsigned length, unsigned flags)
{
    char answer;
    DWORD done;

    buffer.words[0] = length;
    buffer.words[1] = flags;
    return write_all(to, buffer.bytes, length)
        && (!(flags & ANSWER) || (ReadFile(from, &answer, 1, &done, NULL) && done == 1));
}

/* In the parent: sends COUNT objects. Waits for the answer if FLAGS asks for one. */
int floor_hand_over(HANDLE process, HANDLE to, HANDLE from, const HANDLE *objects, unsigned count, unsigned flags)
{
    unsigned i;
    HANDLE copy;

    for (i = 0; i < count; i++) {
        if (!DuplicateHandle(GetCurrentProcess(), objects[i], process, &copy, SYNCHRONIZE | EVENT_MODIFY_STATE,
                             FALSE, 0))
            return 0;
        buffer.words[i + 2] = (unsigned)(ULONG_PTR)copy;
    }
    return send_buffer(to, from, (count + 2) * sizeof(unsigned), flags | VALUES);
}

/* In the parent: sends LENGTH bytes and waits for the answer. */
int floor_send_bytes(HANDLE to, HANDLE from, unsigned length)
{
    return send_buffer(to, from, length, ANSWER);
}

static HANDLE *kept;
static size_t kept_count, kept_capacity;

static void keep(HANDLE object)
{
    if (kept_count == kept_capacity) {
        kept_capacity = kept_capacity ? 2 * kept_capacity : 256;
        kept = realloc(kept, kept_capacity * sizeof *kept);
        if (kept == NULL)
            abort();
    }
    kept[kept_count++] = object;
}

/*
 * In the child: receives messages until the pipe is closed. The handles of a message with KEEP stay open until a
 * message without KEEP arrives, which closes all of them, its own included.
 */
void floor_receive(HANDLE from, HANDLE to)
{
    size_t filled = 0;
    char answer = 0;
    DWORD done;

    while (ReadFile(from, buffer.bytes + filled, (DWORD)(BUFFER_SIZE - filled), &done, NULL) && done > 0) {
        filled += done;
        while (filled >= 8 && filled >= buffer.words[0]) {
            unsigned length = buffer.words[0], flags = buffer.words[1], i;
            if (flags & VALUES)
                for (i = 2; i < length / sizeof(unsigned); i++)
                    keep((HANDLE)(ULONG_PTR)buffer.words[i]);
            if (!(flags & KEEP))
                while (kept_count > 0)
                    CloseHandle(kept[--kept_count]);
            if ((flags & ANSWER) && !write_all(to, &answer, 1))
                return;
            filled -= length;
            memmove(buffer.bytes, buffer.bytes + length, filled);
        }
    }
}

/* Creates an anonymous pipe. */
int floor_pipe(HANDLE *from, HANDLE *to)
{
    return CreatePipe(from, to, NULL, 65536);
}
