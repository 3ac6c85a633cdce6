/* Pairs of programs that share an event, each right or with one mistake. The first argument names the pair. The same
 * program is the child, with "child" and the pair's name as its arguments. It uses the system's interface alone. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLONE_UNTRACED 0x00800000
#ifndef SYS_clone3
#define SYS_clone3 435
#endif

extern char **environ;
static const char *pair, *self;

static int is(const char *name) { return strcmp(pair, name) == 0; }

static void need(int holds, const char *call)
{
	if (!holds) {
		perror(call);
		exit(9);
	}
}

static void sleep_ms(long ms)
{
	struct timespec time = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&time, NULL);
}

/* Starts the child with further arguments. */
static pid_t start(const char *first, const char *second)
{
	pid_t child = fork();
	need(child >= 0, "fork");
	if (child == 0) {
		execl(is("child-not-found") ? "./no-such-child" : self, self, "child", pair, first, second, (char *)NULL);
		_exit(127);
	}
	return child;
}

static pid_t start_with_number(const char *format, int number)
{
	char text[32];
	snprintf(text, sizeof text, format, number);
	return start(text, NULL);
}

static void set(int event)
{
	uint64_t one = 1;
	need(write(event, &one, sizeof one) == sizeof one, "write");
}

static int finish(pid_t child)
{
	int status;
	need(waitpid(child, &status, 0) == child, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 8;
}

/* Waits for the event as a careful child does: with a time limit, and with a look at each result. */
static int wait_for(int event)
{
	struct pollfd polled = {event, POLLIN, 0};
	uint64_t count;
	int ready = poll(&polled, 1, 3000);
	if (ready == 0)
		return 3;
	if (ready < 0 || !(polled.revents & POLLIN))
		return 4;
	return read(event, &count, sizeof count) == sizeof count ? 0 : 5;
}

static void send_handle(int socket, int handle)
{
	char byte = 1, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec buffer = {&byte, 1};
	struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &handle, sizeof handle);
	need(sendmsg(socket, &message, 0) == 1, "sendmsg");
}

static int receive_handle(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec buffer = {&byte, 1};
	struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	int handle;
	need(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1, "recvmsg");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	need(header != NULL, "SCM_RIGHTS");
	memcpy(&handle, CMSG_DATA(header), sizeof handle);
	return handle;
}

static int child(int count, char **words)
{
	int event = count > 3 ? atoi(words[3]) : -1, result;

	if (is("environment"))
		event = atoi(getenv("EVENT"));
	if (is("stdin")) {
		char text[16] = {0};
		need(read(0, text, sizeof text - 1) > 0, "read");
		event = atoi(text);
	}
	if (is("constant"))
		event = 20;
	if (is("scm-rights") || is("scm-rights-inherited"))
		event = receive_handle(atoi(words[3]));
	if (is("pidfd-getfd") || is("getfd-of-wrong-number")) {
		int parent = syscall(SYS_pidfd_open, atoi(words[3]), 0);
		need(parent >= 0, "pidfd_open");
		event = syscall(SYS_pidfd_getfd, parent, atoi(words[4]), 0);
		need(event >= 0, "pidfd_getfd");
		close(parent);
	}
	if (is("own-event"))
		event = eventfd(0, 0);
	if (is("fifo") || is("fifo-for-unnamed")) {
		char byte;
		event = open(words[3], O_RDONLY | O_CLOEXEC);
		need(event >= 0, "open");
		result = read(event, &byte, 1) == 1 ? 0 : 5;
		close(event);
		return result;
	}
	if (is("semaphore") || is("other-name")) {
		sem_t *semaphore = sem_open(words[3], 0);
		struct timespec until;
		need(semaphore != SEM_FAILED, "sem_open");
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 3;
		result = sem_timedwait(semaphore, &until) == 0 ? 0 : 3;
		sem_close(semaphore);
		return result;
	}
	if (is("pipe-never-closed")) {
		char byte;
		int got, bytes = 0;
		while ((got = read(event, &byte, 1)) == 1)
			bytes++;
		close(event);
		return got == 0 && bytes == 1 ? 0 : 5;
	}
	if (is("pipe") || is("pipe-both-ends") || is("pipe-end-of-file")) {
		char byte;
		int ends = is("pipe-end-of-file") ? 0 : 1;
		if (is("pipe-both-ends"))
			close(atoi(words[4]));
		result = read(event, &byte, 1) == ends ? 0 : 5;
		close(event);
		return result;
	}
	if (is("sleeps")) {
		sleep_ms(700);
		close(event);
		return 0;
	}
	if (is("exits-at-once")) {
		close(event);
		return 0;
	}
	if (is("waits-for-process")) {
		int parent = syscall(SYS_pidfd_open, getppid(), 0);
		struct pollfd polled = {parent, POLLIN, 0};
		poll(&polled, 1, 700);
		close(parent);
		close(event);
		return 0;
	}
	if (is("careless")) {
		uint64_t number;
		(void)!read(event, &number, sizeof number);
		close(event);
		return 0;
	}
	if (is("timeout-is-success")) {
		struct pollfd polled = {event, POLLIN, 0};
		int ready = poll(&polled, 1, 1500);
		close(event);
		return ready > 0 && !(polled.revents & POLLIN) ? 4 : 0;
	}
	if (is("no-time-limit")) {
		uint64_t number;
		result = read(event, &number, sizeof number) == sizeof number ? 0 : 5;
		close(event);
		return result;
	}
	if (is("leaves-a-process") && fork() == 0) {
		close(event);
		setsid();
		signal(SIGTERM, SIG_IGN);
		sleep_ms(60000);
		return 0;
	}
	if (is("polls")) {
		uint64_t number;
		fcntl(event, F_SETFL, O_NONBLOCK);
		while (read(event, &number, sizeof number) != sizeof number)
			sleep_ms(50);
		close(event);
		return 0;
	}
	if (is("hostile")) {
		/* It ignores signals, forks away from its tracer, and attacks it. */
		for (int number = 1; number < 32; number++)
			signal(number, SIG_IGN);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		for (int copies = 0; copies < 3; copies++)
			if (fork() == 0) {
				setsid();
				if (fork() == 0)
					for (;;)
						sleep_ms(1000);
				_exit(0);
			}
		if (syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0) == 0)
			for (;;)
				sleep_ms(1000);
		for (;;)
			sleep_ms(1000);
	}
	if (is("kills-its-tracer")) {
		char line[256];
		FILE *status = fopen("/proc/self/status", "r");
		int tracer = 0;
		while (fgets(line, sizeof line, status))
			sscanf(line, "TracerPid: %d", &tracer);
		fclose(status);
		signal(SIGTERM, SIG_IGN);
		if (fork() == 0)
			setsid();
		else if (syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0) == 0)
			setsid();
		else {
			/* The first field is the flags, the fifth the signal. */
			uint64_t clone3[11] = {CLONE_UNTRACED, 0, 0, 0, SIGCHLD};
			if (syscall(SYS_clone3, clone3, sizeof clone3) == 0)
				setsid();
			sleep_ms(300);
		}
		kill(tracer, SIGKILL);
		for (;;)
			sleep_ms(1000);
	}

	result = wait_for(event);
	if (!is("child-never-closes"))
		close(event);
	return is("child-fails") ? 7 : result;
}

static int named_parent(void)
{
	char name[64];
	int result;
	pid_t it;

	if (is("fifo") || is("fifo-for-unnamed")) {
		snprintf(name, sizeof name, "/tmp/handover-pair-%d", getpid());
		unlink(name);
		need(mkfifo(name, 0600) == 0, "mkfifo");
		it = start(name, NULL);
		int event = open(name, O_WRONLY | O_CLOEXEC);
		need(event >= 0, "open");
		unlink(name);
		need(write(event, "x", 1) == 1, "write");
		result = finish(it);
		close(event);
		return result;
	}
	/* A process that was killed has left its name, and its id comes again. */
	snprintf(name, sizeof name, "/handover-pair-%d", getpid());
	sem_unlink(name);
	sem_t *semaphore = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
	need(semaphore != SEM_FAILED, "sem_open");
	it = start(is("other-name") ? "/handover-pair-of-no-one" : name, NULL);
	sem_post(semaphore);
	result = finish(it);
	sem_close(semaphore);
	sem_unlink(name);
	return result;
}

static int pipe_parent(void)
{
	int ends[2], result;
	char first[16], second[16];
	need(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
	fcntl(ends[0], F_SETFD, 0);
	if (is("pipe-both-ends"))
		fcntl(ends[1], F_SETFD, 0);
	snprintf(first, sizeof first, "%d", ends[0]);
	snprintf(second, sizeof second, "%d", ends[1]);
	pid_t it = start(first, second);
	close(ends[0]);
	if (is("pipe-end-of-file"))
		sleep_ms(200);
	else
		need(write(ends[1], "x", 1) == 1, "write");
	if (is("pipe-end-of-file"))
		close(ends[1]);
	result = finish(it);
	if (!is("pipe-end-of-file"))
		close(ends[1]);
	return result;
}

static int duplicating_parent(void)
{
	int sockets[2], result;
	char first[16], second[16];
	pid_t it;
	int event = eventfd(0, is("scm-rights-inherited") ? 0 : EFD_CLOEXEC);
	need(event >= 0, "eventfd");
	if (is("pidfd-getfd") || is("getfd-of-wrong-number")) {
		int other = eventfd(0, EFD_CLOEXEC);
		snprintf(first, sizeof first, "%d", getpid());
		snprintf(second, sizeof second, "%d", is("pidfd-getfd") ? event : other);
		it = start(first, second);
		sleep_ms(200);
		set(event);
		result = finish(it);
		close(other);
		close(event);
		return result;
	}
	if (is("duplicated-into-itself")) {
		int copy = fcntl(event, F_DUPFD_CLOEXEC, 30);
		it = start_with_number("%d", copy);
		sleep_ms(100);
		set(event);
		result = finish(it);
		close(copy);
		close(event);
		return result;
	}
	need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
	fcntl(sockets[1], F_SETFD, 0);
	it = start_with_number("%d", sockets[1]);
	close(sockets[1]);
	send_handle(sockets[0], event);
	set(event);
	result = finish(it);
	close(sockets[0]);
	close(event);
	return result;
}

static int parent(void)
{
	int result, initial = is("set-from-the-start");
	if (strncmp(pair, "fifo", 4) == 0 || is("semaphore") || is("other-name"))
		return named_parent();
	if (strncmp(pair, "pipe", 4) == 0)
		return pipe_parent();
	if (strncmp(pair, "scm", 3) == 0 || is("pidfd-getfd") || is("getfd-of-wrong-number") || is("duplicated-into-itself"))
		return duplicating_parent();
	if (is("no-event")) {
		pid_t it = start("0", NULL);
		return finish(it);
	}

	int event = eventfd(initial, is("not-inheritable") || is("no-child") ? EFD_CLOEXEC : 0);
	need(event >= 0, "eventfd");
	/* The number that the tests expect. The checker itself lets no number have one digit, so that a wrong base shows. */
	int high = fcntl(event, F_DUPFD, strncmp(pair, "number-", 7) == 0 ? 0 : 20);
	if (is("not-inheritable"))
		fcntl(high, F_SETFD, FD_CLOEXEC);
	close(event);
	if (is("leaks"))
		need(open("/dev/null", O_RDONLY) >= 0, "open");
	event = high;
	if (is("no-child")) {
		set(event);
		close(event);
		return 0;
	}
	if (is("signals-first") || is("signals-and-resets")) {
		uint64_t count;
		set(event);
		if (is("signals-and-resets"))
			need(read(event, &count, sizeof count) == sizeof count, "read");
	}
	if (is("closes-too-early"))
		close(event);
	if (is("environment")) {
		char text[32];
		snprintf(text, sizeof text, "%d", event);
		setenv("EVENT", text, 1);
	}
	pid_t it;
	if (is("posix-spawn")) {
		char text[32];
		char *words[] = {(char *)self, "child", (char *)pair, text, NULL};
		snprintf(text, sizeof text, "%d", event);
		need(posix_spawn(&it, self, NULL, NULL, words, environ) == 0, "posix_spawn");
	} else if (is("stdin")) {
		int ends[2];
		need(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
		it = fork();
		if (it == 0) {
			dup2(ends[0], 0);
			execl(self, self, "child", pair, (char *)NULL);
			_exit(127);
		}
		close(ends[0]);
		dprintf(ends[1], "%d\n", event);
		close(ends[1]);
	} else if (is("constant") || is("environment") || is("own-event")) {
		it = start(NULL, NULL);
	} else {
		it = start_with_number(is("number-in-hex") ? "%x" : is("number-in-octal") ? "%o" : is("number-as-pointer") ? "0x%x" : "%d", event);
	}
	if (is("waits-first")) {
		result = finish(it);
		close(event);
		return result;
	}
	if (!is("signals-first") && !is("signals-and-resets") && !is("never-signals") && !is("closes-too-early"))
		set(event);
	if (is("parent-leaves"))
		result = 0;
	else
		result = finish(it);
	if (!is("parent-never-closes") && !is("closes-too-early"))
		close(event);
	return is("status-ignored") ? 0 : result;
}

int main(int count, char **words)
{
	self = "/proc/self/exe";
	if (count > 2 && strcmp(words[1], "child") == 0) {
		pair = words[2];
		return child(count, words);
	}
	if (count != 2) {
		fprintf(stderr, "usage: pair NAME\n");
		return 2;
	}
	pair = words[1];
	if (is("prints-much"))
		for (int line = 0; line < 20000; line++)
			(void)!write(1, "a line of output that nobody reads, again and again and again\n", 62);
	return parent();
}
