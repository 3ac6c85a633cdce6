/* Queries and settings of the measuring process itself. */
#define PSAPI_VERSION 2
#include <windows.h>
#include <psapi.h>

/* Sets or clears whether children inherit a handle. */
int floor_set_inheritable(HANDLE object, int inherit)
{
    return SetHandleInformation(object, HANDLE_FLAG_INHERIT, inherit ? HANDLE_FLAG_INHERIT : 0);
}

/* Returns WANTED: Windows lets a process have more handles than any measurement needs. */
unsigned floor_raise_handle_limit(unsigned wanted)
{
    return wanted;
}

/* Returns the working set of this process in bytes. */
unsigned long long floor_memory(void)
{
    PROCESS_MEMORY_COUNTERS memory = { 0 };

    memory.cb = sizeof memory;
    return GetProcessMemoryInfo(GetCurrentProcess(), &memory, sizeof memory) ? memory.WorkingSetSize : 0;
}

/* Does nothing. Under Wine, the program that starts this process pins it, and Wine's server, to one core. */
int floor_pin_to_core(void)
{
    return 1;
}
