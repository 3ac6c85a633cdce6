/* Queries and settings of the measuring process itself. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Sets or clears whether children inherit a descriptor. */
int floor_set_inheritable(int object, int inherit)
{
    return fcntl(object, F_SETFD, inherit ? 0 : FD_CLOEXEC) == 0;
}

/* Raises this process's limit of open descriptors towards WANTED. Returns how many of these it can have. */
unsigned floor_raise_handle_limit(unsigned wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < wanted) {
        struct rlimit raised = { wanted, limit.rlim_max < wanted ? wanted : limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            return wanted;
        raised.rlim_cur = raised.rlim_max = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            return limit.rlim_max;
    }
    return limit.rlim_cur < wanted ? limit.rlim_cur : wanted;
}

/* Returns the resident memory of this process in bytes. */
unsigned long long floor_memory(void)
{
    unsigned long long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");

    if (statm == NULL)
        return 0;
    if (fscanf(statm, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(statm);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Returns the processor time that this process has used, in nanoseconds. */
unsigned long long floor_processor_time(void)
{
    struct timespec time;

    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0)
        return 0;
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* Pins this process and its children to one core: the last one that they may use. */
int floor_pin_to_core(void)
{
    cpu_set_t allowed, pinned;
    int core;

    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 0;
    for (core = CPU_SETSIZE - 1; core > 0 && !CPU_ISSET(core, &allowed);)
        core--;
    CPU_ZERO(&pinned);
    CPU_SET(core, &pinned);
    return sched_setaffinity(0, sizeof pinned, &pinned) == 0;
}
