/*
 * The child of the exercise "inheritance". Its argument is the value of an inherited handle. Do the steps marked TODO in
 * main, in their order. The file has one half for Windows and one for Linux; delete the half that you don't need.
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
        fprintf(stderr, "usage: child.exe HANDLE\n");
        return 2;
    }

    /* Step 1. TODO: make a handle of the number in argv[1]. If it isn't a number, exit with 2. */

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
        fprintf(stderr, "usage: child DESCRIPTOR\n");
        return 2;
    }

    /* Step 1. TODO: read the descriptor's number from argv[1]. If it isn't a number, exit with 2. */

    /*
     * Step 2. TODO: wait for the event, at most 10,000 ms, and read it. If the deadline passes, exit with 3; if a call
     * fails, or if the descriptor isn't an event, with 1.
     */

    /* Step 3. TODO: close the descriptor. */

    /* TODO: delete these two lines when all steps are done. */
    fprintf(stderr, "child: not done yet: do the steps marked TODO in the child's source; its argument is %s\n", argv[1]);
    code = 4;

    return code;
}

#endif
