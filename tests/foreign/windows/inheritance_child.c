/* A child as the exercise describes it. Its only argument is the value of an inherited event handle. */
#include <windows.h>
#include <wchar.h>

int wmain(int argc, wchar_t **argv)
{
    wchar_t *end;
    unsigned long number;

    if (argc != 2)
        return 2;
    number = wcstoul(argv[1], &end, 10);
    if (*end != L'\0' || number == 0)
        return 2;
    return WaitForSingleObject(ULongToHandle(number), 10000) == WAIT_OBJECT_0 ? 0 : 1;
}
