/*
 * The floor of handing objects or bytes to a running process: DuplicateHandle for each object, one WriteFile with their
 * values, ReadFile over there, and an answer of one byte where one is asked for. The first eight bytes say how many
 * there are and what is to be done.
 */
#include <windows.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 253, ROOM = 2 << 20, ANSWER = 1, KEEP = 2, VALUES = 4 };

static union {
    unsigned words[2 + MOST];
    char bytes[ROOM];
} buffer;

static int write_all(HANDLE pipe, const void *bytes, DWORD length)
{
    DWORD done;
    return WriteFile(pipe, bytes, length, &done, NULL) && done == length;
}

static int send_buffer(HANDLE to, HANDLE from, unsigned length, unsigned what)
{
    char answer;
    DWORD done;

    buffer.words[0] = length;
    buffer.words[1] = what;
    return write_all(to, buffer.bytes, length)
        && (!(what & ANSWER) || (ReadFile(from, &answer, 1, &done, NULL) && done == 1));
}

/* The parent: hands COUNT objects over, and waits for the answer if it asks for one. */
int floor_hand_over(HANDLE process, HANDLE to, HANDLE from, const HANDLE *objects, unsigned count, unsigned what)
{
    unsigned i;
    HANDLE copy;

    for (i = 0; i < count; i++) {
        if (!DuplicateHandle(GetCurrentProcess(), objects[i], process, &copy, SYNCHRONIZE | EVENT_MODIFY_STATE,
                             FALSE, 0))
            return 0;
        buffer.words[i + 2] = (unsigned)(ULONG_PTR)copy;
    }
    return send_buffer(to, from, (count + 2) * sizeof(unsigned), what | VALUES);
}

/* The parent: sends so many bytes, and waits for the answer. */
int floor_bytes(HANDLE to, HANDLE from, unsigned length)
{
    return send_buffer(to, from, length, ANSWER);
}

static HANDLE *kept;
static size_t count_kept, room_kept;

static void keep(HANDLE object)
{
    if (count_kept == room_kept) {
        room_kept = room_kept ? 2 * room_kept : 256;
        kept = realloc(kept, room_kept * sizeof *kept);
        if (kept == NULL)
            abort();
    }
    kept[count_kept++] = object;
}

/* The child: takes what comes, closes it and all that was kept or keeps it, until the pipe ends. */
void floor_take_over(HANDLE from, HANDLE to)
{
    size_t have = 0;
    char answer = 0;
    DWORD done;

    while (ReadFile(from, buffer.bytes + have, (DWORD)(ROOM - have), &done, NULL) && done > 0) {
        have += done;
        while (have >= 8 && have >= buffer.words[0]) {
            unsigned length = buffer.words[0], what = buffer.words[1], i;
            if (what & VALUES)
                for (i = 2; i < length / sizeof(unsigned); i++)
                    keep((HANDLE)(ULONG_PTR)buffer.words[i]);
            if (!(what & KEEP))
                while (count_kept > 0)
                    CloseHandle(kept[--count_kept]);
            if ((what & ANSWER) && !write_all(to, &answer, 1))
                return;
            have -= length;
            memmove(buffer.bytes, buffer.bytes + length, have);
        }
    }
}

/* An anonymous pipe. */
int floor_pipe(HANDLE *from, HANDLE *to)
{
    return CreatePipe(from, to, NULL, 65536);
}
