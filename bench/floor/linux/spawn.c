/*
 * The floor for a spawn: the calls that any program needs to pass COUNT descriptors to a child without changing its own
 * descriptors. There are two variants:
 * - fork and execve: the child clears FD_CLOEXEC on its copies.
 * - posix_spawn: the child shares the parent's memory until execve, so the kernel does not copy the memory map.
 * Both return the process id, or -1, after the child's program has started. posix_spawn waits for that by itself; after
 * fork, the parent reads from a pipe that execve closes.
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
    int exec_pipe[2], failure = 0;
    unsigned i;
    pid_t child;

    if (pipe2(exec_pipe, O_CLOEXEC) != 0)
        return -1;
    child = fork();
    if (child == 0) {
        for (i = 0; i < count; i++)
            if (fcntl(objects[i], F_SETFD, 0) != 0)
                break;
        if (i == count)
            execve(program, arguments, environ);
        (void)!write(exec_pipe[1], &failure, sizeof failure);
        _exit(127);
    }
    close(exec_pipe[1]);
    if (child > 0 && read(exec_pipe[0], &failure, sizeof failure) != 0) {
        waitpid(child, NULL, 0);
        child = -1;
    }
    close(exec_pipe[0]);
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
    /* Duplicating a descriptor onto itself makes posix_spawn clear FD_CLOEXEC in the child. */
    for (i = 0; i < count; i++)
        if (posix_spawn_file_actions_adddup2(&actions, objects[i], objects[i]) != 0)
            return -1;
    error = posix_spawn(&child, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error == 0 ? child : -1;
}

/* Returns whether the child exited with code 0 before the timeout. Kills a child that is still running then. */
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
