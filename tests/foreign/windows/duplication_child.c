/* A child as the exercise describes it. It reads the value of an event handle from standard input. */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>

int wmain(void)
{
    char line[32];

    if (fgets(line, sizeof line, stdin) == NULL)
        return 1;
    return WaitForSingleObject(ULongToHandle(strtoul(line, NULL, 10)), 10000) == WAIT_OBJECT_0 ? 0 : 1;
}
