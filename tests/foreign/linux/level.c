/* Groups of programs for the levels of the check, each right or with one mistake. The first argument names the level, the second
 * one the group. The same program is every process of a group: it gets a role and the role's words behind them. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *level, *group;

static int is(const char *name) { return strcmp(group, name) == 0; }

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

/* Starts this program in a role. The child keeps one more handle than its parent would pass on, unless that is -1. */
static pid_t start(const char *role, int kept, const char *first, const char *second)
{
	pid_t child = fork();
	need(child >= 0, "fork");
	if (child == 0) {
		if (kept >= 0)
			fcntl(kept, F_SETFD, 0);
		execl("/proc/self/exe", "level", level, group, role, first, second, (char *)NULL);
		_exit(127);
	}
	return child;
}

static const char *text(int number)
{
	static char texts[4][16];
	static int next;
	char *it = texts[next++ % 4];
	snprintf(it, 16, "%d", number);
	return it;
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

/* Waits with a time limit, and leaves the signal to others. */
static int wait_for(int event)
{
	struct pollfd polled = {event, POLLIN, 0};
	int ready = poll(&polled, 1, 3000);
	if (ready == 0)
		return 3;
	return ready > 0 && polled.revents & (POLLIN | POLLHUP) ? 0 : 4;
}

static int wait_and_close(int event)
{
	int result = wait_for(event);
	close(event);
	return result;
}

static void send_handles(int socket, const int *handles, int count)
{
	char byte = 1, control[CMSG_SPACE(2 * sizeof(int))] = {0};
	struct iovec buffer = {&byte, 1};
	struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(header), handles, count * sizeof(int));
	need(sendmsg(socket, &message, 0) == 1, "sendmsg");
}

static void receive_handles(int socket, int *handles, int count)
{
	char byte, control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec buffer = {&byte, 1};
	struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	need(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1, "recvmsg");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	need(header != NULL && header->cmsg_len == CMSG_LEN(count * sizeof(int)), "SCM_RIGHTS");
	memcpy(handles, CMSG_DATA(header), count * sizeof(int));
}

/* A socket pair whose second end the child is to inherit. */
static void pair_of_sockets(int sockets[2])
{
	need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
}

/* ------------------------------------------------------------------ two-children */

static int two_children(int argc, char **words)
{
	if (argc > 3) {
		int event = atoi(words[4]);
		if (is("waits-for-own-event")) {
			int own = eventfd(0, EFD_CLOEXEC);
			close(event);
			return wait_and_close(own);
		}
		int result = wait_for(event);
		if (is("reads-the-event") && result == 0) {
			uint64_t count;
			fcntl(event, F_SETFL, O_NONBLOCK);
			if (read(event, &count, sizeof count) != sizeof count)
				result = 5;
		}
		close(event);
		return result;
	}
	int event = eventfd(0, EFD_CLOEXEC | (is("signals-twice") ? EFD_SEMAPHORE : 0));
	need(event >= 0, "eventfd");
	if (is("signals-first"))
		set(event);
	pid_t first = start("child", event, text(event), NULL);
	if (is("one-child")) {
		sleep_ms(100);
		set(event);
		int result = finish(first);
		close(event);
		return result;
	}
	pid_t second = start("child", is("second-lacks-handle") ? -1 : event, text(event), NULL);
	sleep_ms(200);
	if (!is("signals-first"))
		set(event);
	if (is("signals-twice"))
		set(event);
	int result = finish(first);
	if (is("leaves-second"))
		second = 0;
	if (second)
		result |= finish(second);
	close(event);
	return result;
}

/* ------------------------------------------------------------------ grandchild */

static int grandchild(int argc, char **words)
{
	const char *role = argc > 3 ? words[3] : "parent";
	if (strcmp(role, "grandchild") == 0) {
		if (is("by-name")) {
			int event = open(words[4], O_RDONLY | O_CLOEXEC);
			need(event >= 0, "open");
			return wait_and_close(event);
		}
		if (is("sent")) {
			int socket = atoi(words[4]), event;
			receive_handles(socket, &event, 1);
			close(socket);
			return wait_and_close(event);
		}
		return wait_and_close(atoi(words[4]));
	}
	if (strcmp(role, "child") == 0) {
		if (is("by-name")) {
			int event = open(words[4], O_RDONLY | O_CLOEXEC);
			need(event >= 0, "open");
			int result = finish(start("grandchild", -1, words[4], NULL));
			close(event);
			return result;
		}
		int event = atoi(words[4]);
		if (is("waits-itself"))
			return wait_and_close(event);
		fcntl(event, F_SETFD, FD_CLOEXEC);
		if (is("sent")) {
			int sockets[2];
			pair_of_sockets(sockets);
			pid_t it = start("grandchild", sockets[1], text(sockets[1]), NULL);
			close(sockets[1]);
			send_handles(sockets[0], &event, 1);
			close(sockets[0]);
			close(event);
			return finish(it);
		}
		pid_t it = start("grandchild", is("closed-at-exec") ? -1 : event, text(event), NULL);
		close(event);
		if (is("child-leaves"))
			return 0;
		return finish(it);
	}
	if (is("by-name")) {
		char name[64];
		snprintf(name, sizeof name, "/tmp/handover-level-%d", getpid());
		unlink(name);
		need(mkfifo(name, 0600) == 0, "mkfifo");
		int event = open(name, O_RDWR | O_CLOEXEC);
		pid_t it = start("child", -1, name, NULL);
		sleep_ms(300);
		need(write(event, "x", 1) == 1, "write");
		int result = finish(it);
		unlink(name);
		close(event);
		return result;
	}
	int event = eventfd(0, EFD_CLOEXEC);
	need(event >= 0, "eventfd");
	pid_t it = start("child", event, text(event), NULL);
	sleep_ms(300);
	set(event);
	int result = finish(it);
	close(event);
	return result;
}

/* ------------------------------------------------------------------ unrelated */

/* The abstract name has no NUL at its end, so the length of the address says where it ends. */
static socklen_t length_of(const char *name) { return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name); }

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "%s", name);
	return address;
}

static int unrelated(int argc, char **words)
{
	const char *role = argc > 3 ? words[3] : is("own-child") ? "sharer" : "launcher";
	char name[64];
	if (strcmp(role, "sharer") == 0) {
		snprintf(name, sizeof name, "handover-level-%d", is("own-child") ? getpid() : getppid());
		struct sockaddr_un address = address_of(name);
		int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), event;
		pid_t it = 0;
		need(bind(listener, (void *)&address, length_of(name)) == 0, "bind");
		need(listen(listener, 1) == 0, "listen");
		if (is("by-name")) {
			snprintf(name, sizeof name, "/tmp/handover-level-%d", getppid());
			unlink(name);
			need(mkfifo(name, 0600) == 0, "mkfifo");
			event = open(name, O_RDWR | O_CLOEXEC);
		} else {
			event = eventfd(0, EFD_CLOEXEC);
		}
		need(event >= 0, "event");
		if (is("own-child"))
			it = start("receiver", -1, name, NULL);
		int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		need(connection >= 0, "accept4");
		close(listener);
		if (is("by-name"))
			need(write(connection, "x", 1) == 1, "write");
		else if (is("getfd"))
			need(dprintf(connection, "%d %d", getpid(), event) > 0, "write");
		else
			send_handles(connection, &event, 1);
		sleep_ms(200);
		if (!is("never-signals"))
			need(is("by-name") ? write(event, "x", 1) == 1 : (set(event), 1), "write");
		/* The receiver closes the connection at its end. */
		char byte;
		while (read(connection, &byte, 1) > 0)
			;
		close(connection);
		close(event);
		if (is("by-name"))
			unlink(name);
		return it ? finish(it) : 0;
	}
	if (strcmp(role, "receiver") == 0) {
		struct sockaddr_un address = address_of(words[4]);
		int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), event, tries = 0;
		while (connect(connection, (void *)&address, length_of(words[4])) != 0) {
			need(++tries < 200, "connect");
			sleep_ms(20);
		}
		if (is("by-name")) {
			char byte;
			need(read(connection, &byte, 1) == 1, "read");
			snprintf(name, sizeof name, "/tmp/handover-level-%d", getppid());
			event = open(name, O_RDONLY | O_CLOEXEC);
			need(event >= 0, "open");
		} else if (is("getfd")) {
			int sharer, number;
			char line[64] = {0};
			need(read(connection, line, sizeof line - 1) > 0 && sscanf(line, "%d %d", &sharer, &number) == 2, "read");
			int process = syscall(SYS_pidfd_open, sharer, 0);
			need(process >= 0, "pidfd_open");
			event = syscall(SYS_pidfd_getfd, process, number, 0);
			need(event >= 0, "pidfd_getfd");
			close(process);
		} else {
			receive_handles(connection, &event, 1);
		}
		int result = is("sleeps") ? (sleep_ms(700), 0) : wait_for(event);
		close(event);
		close(connection);
		return result;
	}
	/* The launcher starts both, and shares nothing. */
	snprintf(name, sizeof name, "handover-level-%d", getpid());
	pid_t sharer = start("sharer", -1, NULL, NULL), receiver = start("receiver", -1, name, NULL);
	return finish(sharer) | finish(receiver);
}

/* ------------------------------------------------------------------ pipe */

static int read_to_the_end(int end, int once)
{
	char bytes[64];
	ssize_t got, all = 0;
	struct pollfd polled = {end, POLLIN, 0};
	for (;;) {
		if (poll(&polled, 1, 3000) <= 0)
			return 3;
		got = read(end, bytes, sizeof bytes);
		if (got <= 0 || once)
			break;
		all += got;
	}
	return once ? got > 0 ? 0 : 5 : got == 0 && all > 0 ? 0 : 5;
}

static int pipes(int argc, char **words)
{
	if (argc > 3) {
		int socket = atoi(words[4]), ends[2], result;
		if (is("inherited")) {
			ends[0] = socket;
		} else {
			receive_handles(socket, ends, is("both-ends") ? 2 : 1);
			close(socket);
		}
		result = is("no-bytes") ? 0 : read_to_the_end(ends[0], is("reads-once"));
		if (is("no-bytes")) {
			char byte;
			result = read(ends[0], &byte, 1) == 0 ? 0 : 5;
		}
		if (is("both-ends"))
			close(ends[1]);
		close(ends[0]);
		return result;
	}
	int ends[2], sockets[2];
	need(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
	pair_of_sockets(sockets);
	int kept = is("inherited") ? ends[0] : sockets[1];
	pid_t it = start("child", kept, text(kept), NULL);
	close(sockets[1]);
	if (!is("inherited"))
		send_handles(sockets[0], ends, is("both-ends") ? 2 : 1);
	close(ends[0]);
	if (!is("no-bytes"))
		need(write(ends[1], "bytes through the pipe", 22) == 22, "write");
	int result = 0;
	if (is("closes-late"))
		result = finish(it);
	close(ends[1]);
	if (!is("closes-late"))
		result = finish(it);
	close(sockets[0]);
	return result;
}

/* ------------------------------------------------------------------ least-access */

static int least_access(int argc, char **words)
{
	char name[64];
	if (argc > 3) {
		int event;
		if (is("opened-for-writing") || is("fifo"))
			event = open(words[4], is("fifo") ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CLOEXEC);
		else
			event = atoi(words[4]);
		need(event >= 0, "open");
		if (is("both-ends"))
			close(atoi(words[5]));
		struct pollfd polled = {event, POLLIN, 0};
		char bytes[8];
		int result = poll(&polled, 1, 3000) == 1 && read(event, bytes, sizeof bytes) > 0 ? 0 : 3;
		close(event);
		return result;
	}
	int ends[2];
	pid_t it;
	if (is("opened-for-writing") || is("fifo")) {
		snprintf(name, sizeof name, "/tmp/handover-level-%d", getpid());
		unlink(name);
		need(mkfifo(name, 0600) == 0, "mkfifo");
		ends[0] = -1;
		ends[1] = open(name, O_RDWR | O_CLOEXEC);
		it = start("child", -1, name, NULL);
	} else if (is("event")) {
		ends[0] = -1;
		ends[1] = eventfd(0, EFD_CLOEXEC);
		it = start("child", ends[1], text(ends[1]), NULL);
	} else {
		need(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
		if (is("both-ends"))
			fcntl(ends[1], F_SETFD, 0);
		it = start("child", ends[0], text(ends[0]), text(ends[1]));
	}
	if (ends[0] >= 0)
		close(ends[0]);
	sleep_ms(200);
	set(ends[1]);
	int result = finish(it);
	close(ends[1]);
	if (is("opened-for-writing") || is("fifo"))
		unlink(name);
	return result;
}

/* ------------------------------------------------------------------ race */

struct spawn {
	int event, result;
};

static pthread_barrier_t barrier;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *spawn(void *argument)
{
	struct spawn *spawn = argument;
	pthread_barrier_wait(&barrier);
	if (is("flag-in-the-parent"))
		pthread_mutex_lock(&turn);
	if (is("flag-in-the-parent"))
		fcntl(spawn->event, F_SETFD, 0);
	pid_t it = start("child", is("inherit-all") || is("flag-in-the-parent") ? -1 : spawn->event, text(spawn->event), NULL);
	if (is("flag-in-the-parent")) {
		fcntl(spawn->event, F_SETFD, FD_CLOEXEC);
		pthread_mutex_unlock(&turn);
	}
	sleep_ms(100);
	set(spawn->event);
	spawn->result = finish(it);
	return NULL;
}

static int race(int argc, char **words)
{
	if (argc > 3)
		return wait_and_close(atoi(words[4]));
	struct spawn spawns[2];
	pthread_t threads[2];
	int result = 0, flags = is("inherit-all") ? 0 : EFD_CLOEXEC;
	for (int it = 0; it < 2; it++) {
		/* The first event serves both children of a wrong group. */
		spawns[it].event = it == 1 && is("one-event") ? spawns[0].event : eventfd(0, flags);
		need(spawns[it].event >= 0, "eventfd");
	}
	if (is("one-thread")) {
		pid_t children[2];
		for (int it = 0; it < 2; it++)
			children[it] = start("child", spawns[it].event, text(spawns[it].event), NULL);
		for (int it = 0; it < 2; it++) {
			set(spawns[it].event);
			result |= finish(children[it]);
		}
	} else {
		pthread_barrier_init(&barrier, NULL, 2);
		for (int it = 0; it < 2; it++)
			pthread_create(&threads[it], NULL, spawn, &spawns[it]);
		for (int it = 0; it < 2; it++) {
			pthread_join(threads[it], NULL);
			result |= spawns[it].result;
		}
	}
	close(spawns[0].event);
	if (!is("one-event"))
		close(spawns[1].event);
	return result;
}

/* ------------------------------------------------------------------ abandonment */

static int abandonment(int argc, char **words)
{
	int memory = argc > 3 ? atoi(words[4]) : memfd_create("mutex", MFD_CLOEXEC);
	need(memory >= 0 && (argc > 3 || ftruncate(memory, 4096) == 0), "memfd_create");
	pthread_mutex_t *mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	need(mutex != MAP_FAILED, "mmap");
	if (argc > 3) {
		close(memory);
		if (is("never-locks"))
			return 0;
		need(pthread_mutex_lock(mutex) == 0, "pthread_mutex_lock");
		/* The parent waits for this byte, which says that the mutex is owned. */
		need(write(atoi(words[5]), "x", 1) == 1, "write");
		sleep_ms(600);
		pthread_mutex_unlock(mutex);
		return 0;
	}
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	if (!is("not-robust") && !is("never-told"))
		pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attributes);
	int ends[2];
	char byte;
	need(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
	pid_t it = fork();
	if (it == 0) {
		fcntl(memory, F_SETFD, 0);
		fcntl(ends[1], F_SETFD, 0);
		execl("/proc/self/exe", "level", level, group, "child", text(memory), text(ends[1]), (char *)NULL);
		_exit(127);
	}
	close(memory);
	close(ends[1]);
	(void)!read(ends[0], &byte, 1);
	close(ends[0]);
	int result = 0;
	if (is("waits-for-process"))
		result = finish(it);
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += is("never-told") ? 60 : 2;
	int locked = pthread_mutex_timedlock(mutex, &until);
	if (locked == EOWNERDEAD && !is("ignores-abandonment"))
		result = 4;
	else if (locked != 0 && locked != EOWNERDEAD)
		result = 3;
	if (locked == EOWNERDEAD)
		pthread_mutex_consistent(mutex);
	if (locked == 0 || locked == EOWNERDEAD)
		pthread_mutex_unlock(mutex);
	if (!is("waits-for-process"))
		finish(it);
	munmap(mutex, 4096);
	return is("always-abandoned") ? 4 : result;
}

int main(int argc, char **words)
{
	static const struct {
		const char *name;
		int (*play)(int, char **);
	} levels[] = {
		{"two-children", two_children}, {"grandchild", grandchild}, {"unrelated", unrelated},
		{"pipe", pipes}, {"least-access", least_access}, {"race", race}, {"abandonment", abandonment},
	};
	if (argc < 3) {
		fprintf(stderr, "usage: level LEVEL GROUP\n");
		return 2;
	}
	level = words[1];
	group = words[2];
	for (size_t it = 0; it < sizeof levels / sizeof *levels; it++)
		if (strcmp(levels[it].name, level) == 0)
			return levels[it].play(argc, words);
	fprintf(stderr, "no level has this name: %s\n", level);
	return 2;
}
