/*
 * The child of the exercise "duplication". On Windows its standard input is a pipe, from which it reads a handle value. On
 * Linux it is a Unix socket, from which it receives a descriptor. Do the steps marked TODO in main, in their order. The
 * file has one half for Windows and one for Linux; delete the half that you don't need.
 *
 * Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong input; 3 the deadline passed; 4 not done yet.
 */

#ifdef _WIN32

#include <windows.h>
#include <stdio.h>

int main(void)
{
    int code = 0;

    /* Step 1. TODO: read a line from standard input, and make a handle of its number. If it isn't a number, exit with 2. */

    /* Step 2. TODO: wait for the event, at most 10,000 ms. If the deadline passes, exit with 3; if the wait fails, with 1. */

    /* Step 3. TODO: close the handle. */

    /* TODO: delete these two lines when all steps are done. */
    fprintf(stderr, "child: not done yet: do the steps marked TODO in the child's source\n");
    code = 4;

    return code;
}

#else

#include <stdio.h>

int main(void)
{
    int code = 0;

    /* Step 1. TODO: receive a message with a descriptor from standard input. If it carries none, exit with 1. */

    /*
     * Step 2. TODO: wait for the event, at most 10,000 ms, and read it. If the deadline passes, exit with 3; if a call
     * fails, or if the descriptor isn't an event, with 1.
     */

    /* Step 3. TODO: close the descriptor. */

    /* TODO: delete these two lines when all steps are done. */
    fprintf(stderr, "child: not done yet: do the steps marked TODO in the child's source\n");
    code = 4;

    return code;
}

#endif
