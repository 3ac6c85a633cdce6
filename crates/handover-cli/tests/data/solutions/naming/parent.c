/*
 * The parent of the exercise "naming", solved in the template of `handover new`.
 *
 * Exit codes: 0 the child has seen the signal; 1 a call failed; 3 a deadline passed; otherwise the child's own.
 */

#ifdef _WIN32

#include <windows.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

/* How long the parent waits for the child's end, in milliseconds: longer than the child waits for the signal. */
#define DEADLINE 15000

/* Prints which call failed, and why. */
static void print_error(const char *call)
{
    fprintf(stderr, "parent: %s failed: error %lu\n", call, GetLastError());
}

/* Starts child.exe from this program's folder, with one argument. Returns the child's process handle, or NULL. */
static HANDLE start_child(const wchar_t *argument)
{
    wchar_t folder[MAX_PATH], program[MAX_PATH], line[2 * MAX_PATH];
    wchar_t *last;
    STARTUPINFOW startup;
    PROCESS_INFORMATION child;
    DWORD length = GetModuleFileNameW(NULL, folder, MAX_PATH);

    last = length > 0 && length < MAX_PATH ? wcsrchr(folder, L'\\') : NULL;
    if (last == NULL) {
        print_error("GetModuleFileNameW");
        return NULL;
    }
    *last = L'\0';
    if (swprintf(program, MAX_PATH, L"%ls\\child.exe", folder) < 0
        || swprintf(line, 2 * MAX_PATH, L"\"%ls\" %ls", program, argument) < 0) {
        fprintf(stderr, "parent: the path of child.exe is too long\n");
        return NULL;
    }
    memset(&startup, 0, sizeof startup);
    startup.cb = sizeof startup;
    /* FALSE: the child inherits no handle. It opens the event by its name. */
    if (!CreateProcessW(program, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &child)) {
        print_error("CreateProcessW of child.exe");
        return NULL;
    }
    CloseHandle(child.hThread);
    return child.hProcess;
}

/* Waits until the child exits, closes its process handle, and returns its exit code. Ends it at the deadline. */
static int wait_for_exit(HANDLE child)
{
    DWORD code = 1;

    if (WaitForSingleObject(child, DEADLINE) != WAIT_OBJECT_0) {
        fprintf(stderr, "parent: the child didn't exit within %d ms, so it is ended\n", DEADLINE);
        TerminateProcess(child, 3);
        code = 3;
    } else if (!GetExitCodeProcess(child, &code)) {
        print_error("GetExitCodeProcess");
    }
    CloseHandle(child);
    return (int)code;
}

int main(void)
{
    HANDLE event, child;
    wchar_t name[64];
    int code;

    /* Step 1: create an event with a name. If an object has the name already, CreateEventW opens that one. */
    swprintf(name, 64, L"exercise-naming.%lu", GetCurrentProcessId());
    event = CreateEventW(NULL, TRUE, FALSE, name);
    if (event == NULL || GetLastError() == ERROR_ALREADY_EXISTS) {
        print_error("CreateEventW");
        if (event != NULL)
            CloseHandle(event);
        return 1;
    }

    /* Step 2: start the child. Its argument is the name. */
    child = start_child(name);
    if (child == NULL) {
        CloseHandle(event);
        return 1;
    }

    /* Step 3: signal the event. A child that never sees the signal exits at its deadline. */
    if (!SetEvent(event))
        print_error("SetEvent");

    /* Step 4: wait until the child exits. */
    code = wait_for_exit(child);

    /* Step 5: close the handle to the event. */
    CloseHandle(event);

    return code;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long the parent waits for the child's end, in milliseconds: longer than the child waits for the signal. */
#define DEADLINE 15000

/* Prints which call failed, and why. */
static void print_error(const char *call)
{
    fprintf(stderr, "parent: %s failed: %s\n", call, strerror(errno));
}

/* Starts the program `child` from this program's folder, with one argument. Returns the child's process id, or -1. */
static pid_t start_child(const char *argument)
{
    char path[4096];
    char *last;
    pid_t child;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof "child");

    if (length < 0) {
        print_error("readlink");
        return -1;
    }
    path[length] = '\0';
    last = strrchr(path, '/');
    memcpy(last + 1, "child", sizeof "child");
    child = fork();
    if (child < 0) {
        print_error("fork");
    } else if (child == 0) {
        /* This is the new process. execl replaces its program. */
        execl(path, path, argument, (char *)NULL);
        print_error("execl of the program child");
        _exit(1);
    }
    return child;
}

/* Waits until the child exits, and returns its exit code. Ends it at the deadline. */
static int wait_for_exit(pid_t child)
{
    int status = 0, waited;
    pid_t result = 0;

    for (waited = 0; waited < DEADLINE && result == 0; waited += 10) {
        result = waitpid(child, &status, WNOHANG);
        if (result == 0)
            poll(NULL, 0, 10);
    }
    if (result < 0) {
        print_error("waitpid");
        return 1;
    }
    if (result == 0) {
        fprintf(stderr, "parent: the child didn't exit within %d ms, so it is ended\n", DEADLINE);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return 3;
    }
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    fprintf(stderr, "parent: the child was ended by signal %d\n", WTERMSIG(status));
    return 1;
}

int main(void)
{
    sem_t *event;
    char name[64];
    pid_t child;
    int code;

    /* Step 1: create a semaphore with a name and the count 0. With O_EXCL, it is an error if the name is in use. */
    snprintf(name, sizeof name, "/exercise-naming.%d", (int)getpid());
    /* A killed process leaves its name behind, and its id comes again. */
    sem_unlink(name);
    event = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    if (event == SEM_FAILED) {
        print_error("sem_open");
        return 1;
    }

    /* Step 2: start the child. Its argument is the name. */
    child = start_child(name);
    if (child < 0) {
        sem_close(event);
        sem_unlink(name);
        return 1;
    }

    /* Step 3: signal the semaphore. A child that never sees the signal exits at its deadline. */
    if (sem_post(event) < 0)
        print_error("sem_post");

    /* Step 4: wait until the child exits. */
    code = wait_for_exit(child);

    /* Step 5: close the semaphore, and remove its name. */
    sem_close(event);
    sem_unlink(name);

    return code;
}

#endif
