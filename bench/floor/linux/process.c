/* What a measurement needs to know and to change of its own process. */
#define _GNU_SOURCE
#include <fcntl.h>
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
