/*
 * The floor of a spawn: what any program has to do that gives a child COUNT descriptors and doesn't change its own.
 * Twice: by fork and execve, where the child's copies lose the flag that closes them, and by posix_spawn, which lends
 * the parent's memory to the child instead of copying its map. Both return when the program has begun, which posix_spawn
 * does by itself and fork needs a pipe for that closes with execve: the process's id, or -1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int floor_fork(const char *program, const int *objects, unsigned count)
{
    char *const arguments[] = { (char *)program, NULL };
    int begun[2], failed = 0;
    unsigned i;
    pid_t child;

    if (pipe2(begun, O_CLOEXEC) != 0)
        return -1;
    child = fork();
    if (child == 0) {
        for (i = 0; i < count; i++)
            if (fcntl(objects[i], F_SETFD, 0) != 0)
                break;
        if (i == count)
            execve(program, arguments, environ);
        (void)!write(begun[1], &failed, sizeof failed);
        _exit(127);
    }
    close(begun[1]);
    if (child > 0 && read(begun[0], &failed, sizeof failed) != 0) {
        waitpid(child, NULL, 0);
        child = -1;
    }
    close(begun[0]);
    return child;
}

int floor_posix_spawn(const char *program, const int *objects, unsigned count)
{
    char *const arguments[] = { (char *)program, NULL };
    posix_spawn_file_actions_t actions;
    unsigned i;
    pid_t child;
    int error;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    /* Onto itself: that is how this interface says that the child keeps it. */
    for (i = 0; i < count; i++)
        if (posix_spawn_file_actions_adddup2(&actions, objects[i], objects[i]) != 0)
            return -1;
    error = posix_spawn(&child, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error == 0 ? child : -1;
}

/* Whether the child ended well in time; if not, it is killed. */
int floor_wait(int child, unsigned milliseconds)
{
    const struct timespec pause = { 0, 1000000 };
    int status;

    for (; milliseconds > 0; milliseconds--) {
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        nanosleep(&pause, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return 0;
}
