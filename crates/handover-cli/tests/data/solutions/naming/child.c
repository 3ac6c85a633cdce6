/*
 * The child of the exercise "naming", solved in the template of `handover new`.
 *
 * Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong usage; 3 the deadline passed.
 */

#ifdef _WIN32

#include <windows.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    HANDLE event;
    int code = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: child.exe NAME\n");
        return 2;
    }

    /* Step 1: open the event, with the right to wait alone. */
    event = OpenEventA(SYNCHRONIZE, FALSE, argv[1]);
    if (event == NULL) {
        fprintf(stderr, "child: OpenEventA of %s failed: error %lu\n", argv[1], GetLastError());
        return 1;
    }

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

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

int main(int argc, char **argv)
{
    struct timespec deadline;
    sem_t *event;
    int code = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: child NAME\n");
        return 2;
    }

    /* Step 1: open the semaphore. Without O_CREAT, it is an error if there is none. */
    event = sem_open(argv[1], 0);
    if (event == SEM_FAILED) {
        perror("child: sem_open");
        return 1;
    }

    /* Step 2: wait until the semaphore's count is above 0. The deadline is a time of the day. */
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    if (sem_timedwait(event, &deadline) < 0) {
        code = errno == ETIMEDOUT ? 3 : 1;
        perror("child: sem_timedwait");
    }

    /* Step 3: close the semaphore. */
    sem_close(event);

    return code;
}

#endif
