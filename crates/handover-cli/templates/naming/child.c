/*
 * The child of the exercise "naming". Its argument is the name of an event. Do the steps marked TODO in main, in
 * their order. The file has one half for Windows and one for Linux; delete the half that you don't need.
 *
 * Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong usage; 3 the deadline passed; 4 not done yet.
 */

#ifdef _WIN32

#include <windows.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int code = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: child.exe NAME\n");
        return 2;
    }

    /* Step 1. TODO: open the event with the name in argv[1]. Ask only for the right to wait. If that fails, exit with 1. */

    /* Step 2. TODO: wait for the event, at most 10,000 ms. If the deadline passes, exit with 3; if the wait fails, with 1. */

    /* Step 3. TODO: close the handle. */

    /* TODO: delete these two lines when all steps are done. */
    fprintf(stderr, "child: not done yet: do the steps marked TODO in the child's source; its argument is %s\n", argv[1]);
    code = 4;

    return code;
}

#else

#include <stdio.h>

int main(int argc, char **argv)
{
    int code = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: child NAME\n");
        return 2;
    }

    /* Step 1. TODO: open the semaphore with the name in argv[1]. Don't create one. If that fails, exit with 1. */

    /*
     * Step 2. TODO: wait until the semaphore's count is above 0, at most ten seconds. If the deadline passes, exit with
     * 3; if the wait fails, with 1.
     */

    /* Step 3. TODO: close the semaphore. */

    /* TODO: delete these two lines when all steps are done. */
    fprintf(stderr, "child: not done yet: do the steps marked TODO in the child's source; its argument is %s\n", argv[1]);
    code = 4;

    return code;
}

#endif
