/* What a measurement needs to know and to change of its own process. */
#define PSAPI_VERSION 2
#include <windows.h>
#include <psapi.h>

/* Lets children inherit a handle, or no longer. */
int floor_let_inherit(HANDLE object, int inherit)
{
    return SetHandleInformation(object, HANDLE_FLAG_INHERIT, inherit ? HANDLE_FLAG_INHERIT : 0);
}

/* How many handles this process can have: more than anybody wants. */
unsigned floor_room(unsigned wanted)
{
    return wanted;
}

/* The bytes of memory that this process occupies. */
unsigned long long floor_memory(void)
{
    PROCESS_MEMORY_COUNTERS memory = { 0 };

    memory.cb = sizeof memory;
    return GetProcessMemoryInfo(GetCurrentProcess(), &memory, sizeof memory) ? memory.WorkingSetSize : 0;
}

/* Keeps this process on one core: not here. Under Wine, whoever starts it does, and its server with it. */
int floor_stay(void)
{
    return 1;
}
