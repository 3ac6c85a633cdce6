/*
 * The floor for a spawn: the calls that any program needs to pass COUNT objects, and no other handles, to a child
 * without changing its own handles. It makes an inheritable duplicate of each object and standard stream, lists the
 * duplicates, calls CreateProcess, and closes the duplicates. Returns the process handle, or NULL.
 */
#define _WIN32_WINNT 0x0602
#include <windows.h>
#include <stdlib.h>
#include <wchar.h>

HANDLE floor_spawn(const wchar_t *program, const HANDLE *objects, unsigned count)
{
    STARTUPINFOEXW startup = { 0 };
    PROCESS_INFORMATION created = { 0 };
    HANDLE list[3 + 64];
    DWORD streams[3] = { STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE };
    HANDLE self = GetCurrentProcess();
    unsigned n = 0, i;
    SIZE_T size = 0;
    wchar_t line[1024];
    BOOL ok;

    for (i = 0; i < 3; i++)
        if (!DuplicateHandle(self, GetStdHandle(streams[i]), self, &list[n++], 0, TRUE, DUPLICATE_SAME_ACCESS))
            return NULL;
    for (i = 0; i < count; i++)
        if (!DuplicateHandle(self, objects[i], self, &list[n++], SYNCHRONIZE | EVENT_MODIFY_STATE, TRUE, 0))
            return NULL;

    InitializeProcThreadAttributeList(NULL, 1, 0, &size);
    startup.lpAttributeList = malloc(size);
    if (!InitializeProcThreadAttributeList(startup.lpAttributeList, 1, 0, &size))
        return NULL;
    if (!UpdateProcThreadAttribute(startup.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, list,
                                   n * sizeof *list, NULL, NULL))
        return NULL;
    startup.StartupInfo.cb = sizeof startup;
    startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    startup.StartupInfo.hStdInput = list[0];
    startup.StartupInfo.hStdOutput = list[1];
    startup.StartupInfo.hStdError = list[2];
    if (wcslen(program) > 1000)
        return NULL;
    wcscpy(line, L"\"");
    wcscat(line, program);
    wcscat(line, L"\"");
    ok = CreateProcessW(program, line, NULL, NULL, TRUE, EXTENDED_STARTUPINFO_PRESENT, NULL, NULL,
                        &startup.StartupInfo, &created);

    DeleteProcThreadAttributeList(startup.lpAttributeList);
    free(startup.lpAttributeList);
    for (i = 0; i < n; i++)
        CloseHandle(list[i]);
    if (!ok)
        return NULL;
    CloseHandle(created.hThread);
    return created.hProcess;
}

int floor_wait(HANDLE process, unsigned milliseconds)
{
    return WaitForSingleObject(process, milliseconds) == WAIT_OBJECT_0;
}
