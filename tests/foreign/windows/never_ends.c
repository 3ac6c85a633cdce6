/* A child that sleeps for a minute. */
#include <windows.h>

int wmain(void)
{
    Sleep(60000);
    return 0;
}
