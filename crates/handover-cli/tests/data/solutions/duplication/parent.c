/*
 * The parent of the exercise "duplication", solved in the template of `handover new`.
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

/*
 * Starts child.exe from this program's folder. Its standard input is the reading end of a pipe, which it inherits; the
 * writing end is stored in *input. Returns the child's process handle, or NULL.
 */
static HANDLE start_child(HANDLE *input)
{
    HANDLE reading;
    wchar_t folder[MAX_PATH], program[MAX_PATH], line[MAX_PATH + 2];
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
        || swprintf(line, MAX_PATH + 2, L"\"%ls\"", program) < 0) {
        fprintf(stderr, "parent: the path of child.exe is too long\n");
        return NULL;
    }
    if (!CreatePipe(&reading, input, NULL, 0)) {
        print_error("CreatePipe");
        return NULL;
    }
    memset(&startup, 0, sizeof startup);
    startup.cb = sizeof startup;
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = reading;
    startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    /* TRUE: the child inherits each inheritable handle of this process, which is why the event's must not be one. */
    if (!SetHandleInformation(reading, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT)
        || !CreateProcessW(program, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child)) {
        print_error("CreateProcessW of child.exe");
        CloseHandle(reading);
        CloseHandle(*input);
        return NULL;
    }
    CloseHandle(reading);
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
    HANDLE event, copy, child, input;
    DWORD written;
    char line[16];
    int length, code;

    /* Step 1: create an event without a name. Its handle is not inheritable. */
    event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (event == NULL) {
        print_error("CreateEventW");
        return 1;
    }

    /* Step 2: start the child. It inherits the pipe and no handle to the event. */
    child = start_child(&input);
    if (child == NULL) {
        CloseHandle(event);
        return 1;
    }

    /*
     * Step 3: duplicate the handle into the child, with the right to wait alone, and write the duplicate's value to the
     * pipe. The pipe is closed in any case, so that the child never waits for a line that doesn't come.
     */
    if (!DuplicateHandle(GetCurrentProcess(), event, child, &copy, SYNCHRONIZE, FALSE, 0)) {
        print_error("DuplicateHandle");
    } else {
        length = snprintf(line, sizeof line, "%lu\n", HandleToULong(copy));
        if (!WriteFile(input, line, (DWORD)length, &written, NULL))
            print_error("WriteFile");
    }
    CloseHandle(input);

    /* Step 4: signal the event. A child that never sees the signal exits at its deadline. */
    if (!SetEvent(event))
        print_error("SetEvent");

    /* Step 5: wait until the child exits. */
    code = wait_for_exit(child);

    /* Step 6: close the handle to the event. */
    CloseHandle(event);

    return code;
}

#else

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
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

/*
 * Starts the program `child` from this program's folder. Its standard input is one end of a Unix socket, over which a
 * descriptor can be sent; the other end is stored in *input. Returns the child's process id, or -1.
 */
static pid_t start_child(int *input)
{
    char path[4096];
    char *last;
    int ends[2];
    pid_t child;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - sizeof "child");

    if (length < 0) {
        print_error("readlink");
        return -1;
    }
    path[length] = '\0';
    last = strrchr(path, '/');
    memcpy(last + 1, "child", sizeof "child");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        print_error("socketpair");
        return -1;
    }
    child = fork();
    if (child < 0) {
        print_error("fork");
        close(ends[0]);
    } else if (child == 0) {
        /* This is the new process. dup2 makes a descriptor without FD_CLOEXEC, which stays open when execl runs. */
        if (dup2(ends[1], 0) == 0)
            execl(path, path, (char *)NULL);
        print_error("execl of the program child");
        _exit(1);
    }
    close(ends[1]);
    *input = ends[0];
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

/* Sends a descriptor, in a message of one byte. */
static int send_descriptor(int input, int descriptor)
{
    char byte = 'e', control[CMSG_SPACE(sizeof descriptor)];
    struct iovec bytes = {&byte, 1};
    struct msghdr message;
    struct cmsghdr *header;

    memset(&message, 0, sizeof message);
    memset(control, 0, sizeof control);
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(input, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

int main(void)
{
    uint64_t one = 1;
    int event, input, code;
    pid_t child;

    /* Step 1: create an event without a name. With EFD_CLOEXEC, no child inherits its descriptor. */
    event = eventfd(0, EFD_CLOEXEC);
    if (event < 0) {
        print_error("eventfd");
        return 1;
    }

    /* Step 2: start the child. It inherits one end of the socket and no descriptor of the event. */
    child = start_child(&input);
    if (child < 0) {
        close(event);
        return 1;
    }

    /*
     * Step 3: send the descriptor over the socket. The socket is closed in any case, so that the child never waits for a
     * message that doesn't come.
     */
    if (send_descriptor(input, event) < 0)
        print_error("sendmsg");
    close(input);

    /* Step 4: signal the event. A child that never sees the signal exits at its deadline. */
    if (write(event, &one, sizeof one) != (ssize_t)sizeof one)
        print_error("write");

    /* Step 5: wait until the child exits. */
    code = wait_for_exit(child);

    /* Step 6: close the descriptor of the event. */
    close(event);

    return code;
}

#endif
