/*
 * A parent as the exercise describes it. Its argument is the child to start. The child also inherits a second event,
 * the decoy, which is signaled first: a child that waits for the right event is still running afterwards.
 * Exit codes: 10 to 15: a step failed; 20: the child waited for the decoy; otherwise the child's exit code.
 */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns whether the child exits within this number of tenths of a second. */
static int exits(pid_t child, int tenths, int *status)
{
    for (; tenths > 0; tenths--) {
        if (waitpid(child, status, WNOHANG) == child)
            return 1;
        poll(NULL, 0, 100);
    }
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t one = 1;
    char number[16];
    int event, decoy, status;
    pid_t child;

    if (argc != 2)
        return 10;
    decoy = eventfd(0, 0);
    event = eventfd(0, 0);
    if (event < 0 || decoy < 0)
        return 11;
    snprintf(number, sizeof number, "%d", event);
    child = fork();
    if (child < 0)
        return 12;
    if (child == 0) {
        execl(argv[1], argv[1], number, (char *)NULL);
        _exit(12);
    }
    if (write(decoy, &one, sizeof one) != sizeof one)
        return 13;
    if (exits(child, 7, &status))
        return WIFEXITED(status) && WEXITSTATUS(status) == 12 ? 12 : 20;
    if (write(event, &one, sizeof one) != sizeof one)
        return 13;
    if (!exits(child, 100, &status)) {
        kill(child, SIGKILL);
        return 14;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 15;
}
