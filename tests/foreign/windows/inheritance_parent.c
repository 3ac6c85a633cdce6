/*
 * A parent as the exercise describes it. Its argument is the child to start. The child also inherits a second event,
 * the decoy, which is signaled first: a child that waits for the right event is still running afterwards.
 * Exit codes: 10 to 14: a step failed; 20: the child waited for the decoy; otherwise the child's exit code.
 */
#include <windows.h>
#include <stdio.h>
#include <wchar.h>

int wmain(int argc, wchar_t **argv)
{
    SECURITY_ATTRIBUTES inheritable = { sizeof inheritable, NULL, TRUE };
    STARTUPINFOW startup = { sizeof startup };
    PROCESS_INFORMATION child;
    wchar_t line[2048];
    HANDLE event, decoy;
    DWORD code;

    if (argc != 2)
        return 10;
    decoy = CreateEventW(&inheritable, TRUE, FALSE, NULL);
    event = CreateEventW(&inheritable, TRUE, FALSE, NULL);
    if (event == NULL || decoy == NULL)
        return 11;
    swprintf(line, 2048, L"\"%ls\" %lu", argv[1], HandleToULong(event));
    if (!CreateProcessW(argv[1], line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child))
        return 12;
    SetEvent(decoy);
    if (WaitForSingleObject(child.hProcess, 700) != WAIT_TIMEOUT)
        return 20;
    if (!SetEvent(event))
        return 13;
    if (WaitForSingleObject(child.hProcess, 10000) != WAIT_OBJECT_0)
        return 14;
    GetExitCodeProcess(child.hProcess, &code);
    return (int)code;
}
