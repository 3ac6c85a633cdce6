/*
 * The floor of handing objects to a running process: DuplicateHandle for each, one WriteFile with their values, one
 * ReadFile over there; the receiver closes them and answers with one byte.
 */
#include <windows.h>

static int write_all(HANDLE pipe, const void *bytes, DWORD length)
{
    DWORD done;
    return WriteFile(pipe, bytes, length, &done, NULL) && done == length;
}

static int read_all(HANDLE pipe, void *bytes, DWORD length)
{
    DWORD done;
    while (length) {
        if (!ReadFile(pipe, bytes, length, &done, NULL) || !done)
            return 0;
        bytes = (char *)bytes + done;
        length -= done;
    }
    return 1;
}

/* The parent: hands COUNT objects over and waits for the answer. */
int floor_hand_over(HANDLE process, HANDLE to, HANDLE from, const HANDLE *objects, unsigned count)
{
    unsigned values[254];
    unsigned i;
    char answer;
    HANDLE copy;

    values[0] = count;
    for (i = 0; i < count; i++) {
        if (!DuplicateHandle(GetCurrentProcess(), objects[i], process, &copy, SYNCHRONIZE | EVENT_MODIFY_STATE,
                             FALSE, 0))
            return 0;
        values[i + 1] = (unsigned)(ULONG_PTR)copy;
    }
    return write_all(to, values, (count + 1) * sizeof *values) && read_all(from, &answer, 1);
}

/* The child: takes what comes, closes it and answers, until the pipe ends. */
void floor_take_over(HANDLE from, HANDLE to)
{
    unsigned values[254];
    unsigned i;
    char answer = 0;
    DWORD done;

    while (ReadFile(from, values, sizeof values, &done, NULL) && done >= sizeof *values) {
        while (done < (values[0] + 1) * sizeof *values) {
            DWORD more;
            if (!ReadFile(from, (char *)values + done, sizeof values - done, &more, NULL))
                return;
            done += more;
        }
        for (i = 0; i < values[0]; i++)
            CloseHandle((HANDLE)(ULONG_PTR)values[i + 1]);
        if (!write_all(to, &answer, 1))
            return;
    }
}

/* An anonymous pipe. */
int floor_pipe(HANDLE *from, HANDLE *to)
{
    return CreatePipe(from, to, NULL, 65536);
}
