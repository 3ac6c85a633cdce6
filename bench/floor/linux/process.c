/* What a measurement needs to know and to change of its own process. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Lets children inherit a descriptor, or no longer. */
int floor_let_inherit(int object, int inherit)
{
    return fcntl(object, F_SETFD, inherit ? 0 : FD_CLOEXEC) == 0;
}

/* How many descriptors this process can have, after asking for so many. */
unsigned floor_room(unsigned wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < wanted) {
        struct rlimit more = { wanted, limit.rlim_max < wanted ? wanted : limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return wanted;
        more.rlim_cur = more.rlim_max = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return limit.rlim_max;
    }
    return limit.rlim_cur < wanted ? limit.rlim_cur : wanted;
}

/* The bytes of memory that this process occupies. */
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

/* Keeps this process and its children on one core: the last that they may use. */
int floor_stay(void)
{
    cpu_set_t may, stay;
    int core;

    if (sched_getaffinity(0, sizeof may, &may) != 0)
        return 0;
    for (core = CPU_SETSIZE - 1; core > 0 && !CPU_ISSET(core, &may);)
        core--;
    CPU_ZERO(&stay);
    CPU_SET(core, &stay);
    return sched_setaffinity(0, sizeof stay, &stay) == 0;
}
