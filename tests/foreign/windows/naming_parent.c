/*
 * A parent as the exercise describes it. Its argument is the child to start. A second event, the decoy, whose name is
 * longer by a letter, is signaled first: a child that waits for the right event is still running afterwards.
 * Exit codes: 10 to 14: a step failed; 20: the child waited for the decoy; otherwise the child's exit code.
 */
#include <windows.h>
#include <stdio.h>
#include <wchar.h>

int wmain(int argc, wchar_t **argv)
{
    STARTUPINFOW startup = { sizeof startup };
    PROCESS_INFORMATION child;
    wchar_t line[2048], name[64], longer[64];
    HANDLE event, decoy;
    DWORD code;

    if (argc != 2)
        return 10;
    swprintf(name, 64, L"foreign.%lu", GetCurrentProcessId());
    swprintf(longer, 64, L"%lsx", name);
    decoy = CreateEventW(NULL, TRUE, FALSE, longer);
    event = CreateEventW(NULL, TRUE, FALSE, name);
    if (event == NULL || decoy == NULL)
        return 11;
    swprintf(line, 2048, L"\"%ls\" %ls", argv[1], name);
    if (!CreateProcessW(argv[1], line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &child))
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
