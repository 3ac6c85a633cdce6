/* A child as the exercise describes it. Its argument is the name of an event. */
#include <windows.h>

int wmain(int argc, wchar_t **argv)
{
    HANDLE event = argc == 2 ? OpenEventW(SYNCHRONIZE, FALSE, argv[1]) : NULL;

    return event != NULL && WaitForSingleObject(event, 10000) == WAIT_OBJECT_0 ? 0 : 1;
}
