/*
 * Pairs of programs that share an event, each right or with one mistake. The first argument names the pair. The same
 * program is the child, with "child" and the pair's name as its arguments. It uses the system's interface alone.
 */
#define WIN32_LEAN_AND_MEAN
#define _WIN32_WINNT 0x0600
#include <windows.h>
#include <tlhelp32.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

static const wchar_t *pair;
static wchar_t self[1024];

static int is(const wchar_t *name)
{
    return wcscmp(pair, name) == 0;
}

static void need(int holds, const char *call)
{
    if (!holds) {
        fprintf(stderr, "%s: error %lu\n", call, GetLastError());
        exit(9);
    }
}

/* The way in which the child gets its handles. */
enum inheritance { NOTHING, EVERYTHING, LIST };

/* Starts the child with further arguments. Its standard input can be a pipe. */
static PROCESS_INFORMATION start(const wchar_t *words, enum inheritance way, HANDLE listed, HANDLE input, DWORD flags)
{
    STARTUPINFOEXW startup = { { sizeof startup } };
    PROCESS_INFORMATION child;
    HANDLE list[2];
    SIZE_T size = 0;
    DWORD count = 0;
    wchar_t line[2048];

    swprintf(line, 2048, L"\"%ls\" child %ls %ls", self, pair, words);
    if (listed != NULL)
        list[count++] = listed;
    if (input != NULL) {
        list[count++] = input;
        startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
        startup.StartupInfo.hStdInput = input;
    }
    if (way == LIST) {
        InitializeProcThreadAttributeList(NULL, 1, 0, &size);
        startup.lpAttributeList = malloc(size);
        need(startup.lpAttributeList != NULL && InitializeProcThreadAttributeList(startup.lpAttributeList, 1, 0, &size), "InitializeProcThreadAttributeList");
        need(UpdateProcThreadAttribute(startup.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, list, count * sizeof(HANDLE), NULL, NULL), "UpdateProcThreadAttribute");
        flags |= EXTENDED_STARTUPINFO_PRESENT;
    } else {
        startup.StartupInfo.cb = sizeof(STARTUPINFOW);
    }
    need(CreateProcessW(is(L"child-not-found") ? L".\\no-such-child.exe" : self, line, NULL, NULL, way != NOTHING, flags, NULL, NULL, &startup.StartupInfo, &child), "CreateProcessW");
    if (way == LIST) {
        DeleteProcThreadAttributeList(startup.lpAttributeList);
        free(startup.lpAttributeList);
    }
    return child;
}

static void set(HANDLE event)
{
    need(SetEvent(event), "SetEvent");
}

static int finish(PROCESS_INFORMATION child, DWORD timeout)
{
    DWORD code = 8;
    HANDLE awaited = is(L"waits-for-thread") ? child.hThread : child.hProcess;

    need(WaitForSingleObject(awaited, timeout) == WAIT_OBJECT_0, "WaitForSingleObject");
    if (awaited == child.hThread)
        Sleep(200);
    need(GetExitCodeProcess(child.hProcess, &code), "GetExitCodeProcess");
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
    return (int)code;
}

/* Waits for the event as a careful child does: with a time limit, and with a look at the result. */
static int wait_for(HANDLE event)
{
    switch (WaitForSingleObject(event, 3000)) {
    case WAIT_OBJECT_0:
        return 0;
    case WAIT_TIMEOUT:
        return 3;
    default:
        return 4;
    }
}

static HANDLE fillers[512];
static int filled;

/* Opens handles until new ones have large values, so that a wrong base doesn't give the value of another handle. */
static void fill_small_values(void)
{
    HANDLE this = GetCurrentProcess();

    do {
        need(filled < 512 && DuplicateHandle(this, this, this, &fillers[filled], 0, FALSE, DUPLICATE_SAME_ACCESS), "DuplicateHandle");
        filled++;
    } while (HandleToULong(fillers[filled - 1]) < 0x400);
}

static void close_fillers(void)
{
    while (filled > 0)
        CloseHandle(fillers[--filled]);
}

static HANDLE to_handle(const wchar_t *text)
{
    return ULongToHandle(wcstoul(text, NULL, 10));
}

/* Reads a number as a line from a handle. */
static HANDLE read_number(HANDLE from)
{
    char text[32] = { 0 };
    DWORD length;

    need(ReadFile(from, text, sizeof text - 1, &length, NULL) && length > 0, "ReadFile");
    return ULongToHandle(strtoul(text, NULL, 10));
}

static void write_number(HANDLE to, HANDLE value)
{
    char text[32];
    DWORD length;
    int size = sprintf(text, "%lu\n", HandleToULong(value));

    need(WriteFile(to, text, size, &length, NULL), "WriteFile");
}

/* The name of an object of this pair, for which the parent's id is unique. */
static void name_of(wchar_t *name, const wchar_t *folder, DWORD parent)
{
    swprintf(name, 64, L"%lshandover-pair-%lu", folder, parent);
}

/* Ends the process that debugs this pair: the parent of this pair's parent. */
static void kill_debugger(DWORD parent)
{
    PROCESSENTRY32W entry = { sizeof entry };
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0), debugger;
    BOOL more;

    for (more = Process32FirstW(snapshot, &entry); more; more = Process32NextW(snapshot, &entry))
        if (entry.th32ProcessID == parent) {
            debugger = OpenProcess(PROCESS_TERMINATE, FALSE, entry.th32ParentProcessID);
            need(debugger != NULL, "OpenProcess");
            TerminateProcess(debugger, 99);
        }
}

static LONG CALLBACK goes_on(EXCEPTION_POINTERS *raised)
{
    if (raised->ExceptionRecord->ExceptionCode != EXCEPTION_BREAKPOINT)
        return EXCEPTION_CONTINUE_SEARCH;
#ifdef _WIN64
    raised->ContextRecord->Rip++;
#else
    raised->ContextRecord->Eip++;
#endif
    return EXCEPTION_CONTINUE_EXECUTION;
}

static DWORD WINAPI breaks_forever(void *unused)
{
    for (;;)
        DebugBreak();
    return unused != NULL;
}

static DWORD WINAPI waits_forever(void *unused)
{
    Sleep(INFINITE);
    return unused != NULL;
}

/* Breaks into its debugger, makes and kills threads, and starts processes, one with itself as the debugger. */
static int be_hostile(void)
{
    STARTUPINFOW startup = { sizeof startup };
    PROCESS_INFORMATION child;
    wchar_t line[2048];
    int i;

    AddVectoredExceptionHandler(1, goes_on);
    for (i = 0; i < 2; i++)
        CreateThread(NULL, 0, breaks_forever, NULL, 0, NULL);
    for (i = 0; i < 20; i++) {
        HANDLE thread = CreateThread(NULL, 0, waits_forever, NULL, 0, NULL);
        TerminateThread(thread, 0);
        CloseHandle(thread);
        CloseHandle(ULongToHandle(0x7ff0));
    }
    for (i = 0; i < 3; i++) {
        DWORD flags = i == 2 ? DEBUG_PROCESS : i == 1 ? DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP : CREATE_BREAKAWAY_FROM_JOB;
        swprintf(line, 2048, L"\"%ls\" child sleeps-forever", self);
        if (!CreateProcessW(self, line, NULL, NULL, FALSE, flags, NULL, NULL, &startup, &child))
            CreateProcessW(self, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &child);
    }
    for (;;)
        printf("a line of output that nobody reads, again and again and again\n");
}

static int child(int count, wchar_t **words)
{
    const wchar_t *word = count > 3 ? words[3] : L"0";
    HANDLE event = NULL, parent;
    wchar_t name[64];
    int result;

    if (is(L"sleeps-forever"))
        for (;;)
            Sleep(1000);
    if (is(L"environment")) {
        wchar_t text[32];
        need(GetEnvironmentVariableW(L"EVENT", text, 32) > 0, "GetEnvironmentVariableW");
        event = to_handle(text);
    } else if (is(L"stdin") || is(L"push") || is(L"push-all-rights") || is(L"push-modify-only") || is(L"duplicated-into-itself") || is(L"not-duplicated")) {
        event = read_number(GetStdHandle(STD_INPUT_HANDLE));
    } else if (is(L"shared-memory") || is(L"push-suspended")) {
        HANDLE section;
        ULONG *view;
        name_of(name, L"", wcstoul(word, NULL, 10));
        section = OpenFileMappingW(FILE_MAP_READ, FALSE, name);
        need(section != NULL, "OpenFileMappingW");
        view = MapViewOfFile(section, FILE_MAP_READ, 0, 0, sizeof *view);
        need(view != NULL, "MapViewOfFile");
        event = ULongToHandle(*view);
        UnmapViewOfFile(view);
        CloseHandle(section);
    } else if (is(L"named-pipe") || is(L"push-named-pipe")) {
        HANDLE pipe;
        name_of(name, L"\\\\.\\pipe\\", wcstoul(word, NULL, 10));
        pipe = CreateFileW(name, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
        need(pipe != INVALID_HANDLE_VALUE, "CreateFileW");
        event = read_number(pipe);
        CloseHandle(pipe);
    } else if (is(L"pull") || is(L"pull-all-access") || is(L"pseudo-handle")) {
        DWORD access = is(L"pull-all-access") ? PROCESS_ALL_ACCESS : PROCESS_DUP_HANDLE;
        parent = is(L"pseudo-handle") ? GetCurrentProcess() : OpenProcess(access, FALSE, wcstoul(word, NULL, 10));
        need(parent != NULL, "OpenProcess");
        need(DuplicateHandle(parent, to_handle(words[4]), GetCurrentProcess(), &event, SYNCHRONIZE, FALSE, 0), "DuplicateHandle");
        if (parent != GetCurrentProcess())
            CloseHandle(parent);
    } else if (is(L"name") || is(L"name-all-access") || is(L"name-modify-only") || is(L"other-name") || is(L"named-for-unnamed")) {
        DWORD access = is(L"name-all-access") ? EVENT_ALL_ACCESS : is(L"name-modify-only") ? EVENT_MODIFY_STATE : SYNCHRONIZE;
        event = OpenEventW(access, FALSE, word);
        need(event != NULL, "OpenEventW");
    } else if (is(L"semaphore")) {
        event = OpenSemaphoreW(SYNCHRONIZE, FALSE, word);
        need(event != NULL, "OpenSemaphoreW");
    } else if (is(L"own-event")) {
        event = CreateEventW(NULL, TRUE, FALSE, NULL);
    } else {
        event = to_handle(word);
    }

    if (is(L"pipe-as-event") || is(L"pipe-end-of-file")) {
        char byte;
        DWORD length;
        BOOL read = ReadFile(event, &byte, 1, &length, NULL);
        result = is(L"pipe-end-of-file") ? !(!read && GetLastError() == ERROR_BROKEN_PIPE) : !(read && length == 1);
        CloseHandle(event);
        return result;
    }
    if (is(L"no-event"))
        return 5;
    if (is(L"sleeps") || is(L"exits-at-once") || is(L"waits-for-process")) {
        if (is(L"sleeps"))
            Sleep(700);
        if (is(L"waits-for-process")) {
            parent = OpenProcess(SYNCHRONIZE, FALSE, wcstoul(words[4], NULL, 10));
            WaitForSingleObject(parent, 700);
            CloseHandle(parent);
        }
        CloseHandle(event);
        return 0;
    }
    if (is(L"ignores-wait-failed")) {
        if (WaitForSingleObject(event, 20000) != WAIT_TIMEOUT)
            printf("The event was signaled.\n");
        CloseHandle(event);
        return 0;
    }
    if (is(L"timeout-is-success")) {
        DWORD ended = WaitForSingleObject(event, 1500);
        CloseHandle(event);
        return ended == WAIT_FAILED ? 4 : 0;
    }
    if (is(L"leaves-a-process")) {
        STARTUPINFOW startup = { sizeof startup };
        PROCESS_INFORMATION other;
        wchar_t line[2048];
        swprintf(line, 2048, L"\"%ls\" child sleeps-forever", self);
        need(CreateProcessW(self, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &other), "CreateProcessW");
        CloseHandle(other.hThread);
        CloseHandle(other.hProcess);
    }
    if (is(L"hostile"))
        return be_hostile();
    if (is(L"kills-its-debugger")) {
        STARTUPINFOW startup = { sizeof startup };
        PROCESS_INFORMATION other;
        wchar_t line[2048];
        swprintf(line, 2048, L"\"%ls\" child sleeps-forever", self);
        need(CreateProcessW(self, line, NULL, NULL, FALSE, DEBUG_PROCESS, NULL, NULL, &startup, &other), "CreateProcessW");
        kill_debugger(wcstoul(words[4], NULL, 10));
        for (;;)
            Sleep(1000);
    }

    if (is(L"no-time-limit"))
        result = WaitForSingleObject(event, INFINITE) == WAIT_OBJECT_0 ? 0 : 4;
    else if (is(L"several")) {
        HANDLE list[2];
        list[0] = event;
        list[1] = CreateEventW(NULL, TRUE, FALSE, NULL);
        result = WaitForMultipleObjects(2, list, FALSE, 3000) == WAIT_OBJECT_0 ? 0 : 4;
        CloseHandle(list[1]);
    } else {
        result = wait_for(event);
    }
    if (!is(L"child-never-closes"))
        CloseHandle(event);
    return is(L"child-fails") ? 7 : result;
}

/* Puts a duplicate of the event into the child, and tells the child its value. */
static int duplicating_parent(HANDLE event)
{
    SECURITY_ATTRIBUTES inheritable = { sizeof inheritable, NULL, TRUE };
    HANDLE copy = event, read = NULL, write;
    DWORD access = is(L"push-modify-only") ? EVENT_MODIFY_STATE : SYNCHRONIZE;
    PROCESS_INFORMATION it;
    wchar_t words[64], name[64];
    int result;

    if (is(L"pull") || is(L"pull-all-access") || is(L"pseudo-handle")) {
        swprintf(words, 64, L"%lu %lu", GetCurrentProcessId(), HandleToULong(event));
        it = start(words, NOTHING, NULL, NULL, 0);
        set(event);
        result = finish(it, 20000);
        CloseHandle(event);
        return result;
    }
    swprintf(words, 64, L"%lu", GetCurrentProcessId());
    if (is(L"push-suspended")) {
        ULONG *view;
        HANDLE section;
        name_of(name, L"", GetCurrentProcessId());
        section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, sizeof *view, name);
        need(section != NULL, "CreateFileMappingW");
        view = MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, sizeof *view);
        need(view != NULL, "MapViewOfFile");
        it = start(words, NOTHING, NULL, NULL, CREATE_SUSPENDED);
        need(DuplicateHandle(GetCurrentProcess(), event, it.hProcess, &copy, access, FALSE, 0), "DuplicateHandle");
        *view = HandleToULong(copy);
        ResumeThread(it.hThread);
        set(event);
        result = finish(it, 20000);
        UnmapViewOfFile(view);
        CloseHandle(section);
        CloseHandle(event);
        return result;
    }
    if (is(L"push-named-pipe")) {
        name_of(name, L"\\\\.\\pipe\\", GetCurrentProcessId());
        write = CreateNamedPipeW(name, PIPE_ACCESS_OUTBOUND | FILE_FLAG_FIRST_PIPE_INSTANCE, PIPE_TYPE_BYTE | PIPE_WAIT, 1, 64, 64, 0, NULL);
        need(write != INVALID_HANDLE_VALUE, "CreateNamedPipeW");
        it = start(words, NOTHING, NULL, NULL, 0);
        need(ConnectNamedPipe(write, NULL) || GetLastError() == ERROR_PIPE_CONNECTED, "ConnectNamedPipe");
    } else {
        need(CreatePipe(&read, &write, &inheritable, 0), "CreatePipe");
        SetHandleInformation(write, HANDLE_FLAG_INHERIT, 0);
        it = start(L"", LIST, NULL, read, 0);
    }
    if (is(L"duplicated-into-itself"))
        need(DuplicateHandle(GetCurrentProcess(), event, GetCurrentProcess(), &copy, access, FALSE, 0), "DuplicateHandle");
    else if (is(L"push-all-rights"))
        need(DuplicateHandle(GetCurrentProcess(), event, it.hProcess, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS), "DuplicateHandle");
    else if (!is(L"not-duplicated"))
        need(DuplicateHandle(GetCurrentProcess(), event, it.hProcess, &copy, access, FALSE, 0), "DuplicateHandle");
    write_number(write, copy);
    CloseHandle(write);
    /* Until here, no new handle could get its value, which the child has too. */
    if (read != NULL)
        CloseHandle(read);
    set(event);
    result = finish(it, 20000);
    if (is(L"duplicated-into-itself"))
        CloseHandle(copy);
    CloseHandle(event);
    close_fillers();
    return result;
}

static int named_parent(void)
{
    wchar_t name[64];
    HANDLE object;
    PROCESS_INFORMATION it;
    int result;

    name_of(name, L"", GetCurrentProcessId());
    if (is(L"semaphore"))
        object = CreateSemaphoreW(NULL, 0, 1, name);
    else
        object = CreateEventW(NULL, TRUE, FALSE, name);
    need(object != NULL && GetLastError() != ERROR_ALREADY_EXISTS, "the creation");
    it = start(is(L"other-name") ? L"handover-pair-of-no-one" : name, NOTHING, NULL, NULL, 0);
    if (is(L"semaphore"))
        need(ReleaseSemaphore(object, 1, NULL), "ReleaseSemaphore");
    else
        set(object);
    result = finish(it, 20000);
    CloseHandle(object);
    return result;
}

static int pipe_parent(void)
{
    SECURITY_ATTRIBUTES inheritable = { sizeof inheritable, NULL, TRUE };
    HANDLE read, write;
    PROCESS_INFORMATION it;
    DWORD length;
    wchar_t words[64];
    int result;

    need(CreatePipe(&read, &write, &inheritable, 0), "CreatePipe");
    SetHandleInformation(write, HANDLE_FLAG_INHERIT, 0);
    swprintf(words, 64, L"%lu", HandleToULong(read));
    it = start(words, LIST, read, NULL, 0);
    CloseHandle(read);
    if (is(L"pipe-end-of-file")) {
        Sleep(200);
        CloseHandle(write);
        return finish(it, 20000);
    }
    need(WriteFile(write, "x", 1, &length, NULL), "WriteFile");
    result = finish(it, 20000);
    CloseHandle(write);
    return result;
}

static int parent(void)
{
    SECURITY_ATTRIBUTES inheritable = { sizeof inheritable, NULL, TRUE };
    HANDLE event, other = NULL, section = NULL, pipe = NULL, read = NULL, write = NULL;
    enum inheritance way = LIST;
    PROCESS_INFORMATION it;
    ULONG *view = NULL;
    wchar_t words[64], name[64];
    int result;

    if (is(L"number-in-hex") || is(L"number-in-octal") || is(L"number-as-pointer") || is(L"duplicated-into-itself") || is(L"not-duplicated") || is(L"pseudo-handle"))
        fill_small_values();
    if (is(L"name") || is(L"name-all-access") || is(L"name-modify-only") || is(L"other-name") || is(L"semaphore") || is(L"named-for-unnamed"))
        return named_parent();
    if (is(L"pipe-as-event") || is(L"pipe-end-of-file"))
        return pipe_parent();
    if (is(L"no-event"))
        return finish(start(L"", NOTHING, NULL, NULL, 0), 20000);
    if (wcsncmp(pair, L"push", 4) == 0 || wcsncmp(pair, L"pull", 4) == 0 || is(L"pseudo-handle") || is(L"duplicated-into-itself") || is(L"not-duplicated"))
        return duplicating_parent(CreateEventW(NULL, TRUE, FALSE, NULL));

    event = CreateEventW(is(L"not-inheritable") || is(L"no-child") ? NULL : &inheritable, TRUE, is(L"set-from-the-start"), NULL);
    need(event != NULL, "CreateEventW");
    if (is(L"no-child")) {
        set(event);
        CloseHandle(event);
        return 0;
    }
    if (is(L"leaks") || is(L"not-in-list"))
        other = CreateEventW(&inheritable, TRUE, FALSE, NULL);
    if (is(L"inherit-all") || is(L"leaks") || is(L"not-inheritable") || is(L"environment"))
        way = EVERYTHING;
    if (is(L"inherit-false"))
        way = NOTHING;
    if (is(L"signals-first") || is(L"signals-and-resets"))
        set(event);
    if (is(L"signals-and-resets"))
        ResetEvent(event);
    if (is(L"closes-too-early"))
        CloseHandle(event);
    swprintf(words, 64,
             is(L"number-in-hex") ? L"%lx" : is(L"number-in-octal") ? L"%lo" : is(L"number-as-pointer") ? L"%016lX" : L"%lu",
             HandleToULong(event));
    if (is(L"waits-for-process") || is(L"kills-its-debugger"))
        swprintf(words, 64, L"%lu %lu", HandleToULong(event), GetCurrentProcessId());
    if (is(L"environment")) {
        SetEnvironmentVariableW(L"EVENT", words);
        words[0] = L'\0';
    }
    if (is(L"shared-memory")) {
        name_of(name, L"", GetCurrentProcessId());
        section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, sizeof *view, name);
        need(section != NULL, "CreateFileMappingW");
        view = MapViewOfFile(section, FILE_MAP_WRITE, 0, 0, sizeof *view);
        need(view != NULL, "MapViewOfFile");
        *view = HandleToULong(event);
        swprintf(words, 64, L"%lu", GetCurrentProcessId());
    }
    if (is(L"named-pipe")) {
        name_of(name, L"\\\\.\\pipe\\", GetCurrentProcessId());
        pipe = CreateNamedPipeW(name, PIPE_ACCESS_OUTBOUND | FILE_FLAG_FIRST_PIPE_INSTANCE, PIPE_TYPE_BYTE | PIPE_WAIT, 1, 64, 64, 0, NULL);
        need(pipe != INVALID_HANDLE_VALUE, "CreateNamedPipeW");
        swprintf(words, 64, L"%lu", GetCurrentProcessId());
    }
    if (is(L"stdin")) {
        need(CreatePipe(&read, &write, &inheritable, 0), "CreatePipe");
        SetHandleInformation(write, HANDLE_FLAG_INHERIT, 0);
    }
    it = start(words, is(L"closes-too-early") ? NOTHING : way, is(L"not-in-list") ? other : event, read, 0);
    if (is(L"stdin")) {
        CloseHandle(read);
        write_number(write, event);
        CloseHandle(write);
    }
    if (is(L"named-pipe")) {
        need(ConnectNamedPipe(pipe, NULL) || GetLastError() == ERROR_PIPE_CONNECTED, "ConnectNamedPipe");
        write_number(pipe, event);
        CloseHandle(pipe);
    }
    if (is(L"waits-first")) {
        result = finish(it, 20000);
        CloseHandle(event);
        return result;
    }
    if (is(L"pulses"))
        need(PulseEvent(event), "PulseEvent");
    else if (!is(L"signals-first") && !is(L"signals-and-resets") && !is(L"never-signals") && !is(L"closes-too-early"))
        set(event);
    result = is(L"parent-leaves") ? 0 : finish(it, is(L"no-time-limit") ? INFINITE : 20000);
    if (view != NULL) {
        UnmapViewOfFile(view);
        CloseHandle(section);
    }
    if (other != NULL)
        CloseHandle(other);
    if (!is(L"parent-never-closes") && !is(L"closes-too-early"))
        CloseHandle(event);
    close_fillers();
    return is(L"status-ignored") ? 0 : result;
}

int wmain(int count, wchar_t **words)
{
    int line;

    GetModuleFileNameW(NULL, self, 1024);
    if (count > 2 && wcscmp(words[1], L"child") == 0) {
        pair = words[2];
        return child(count, words);
    }
    if (count != 2) {
        fprintf(stderr, "usage: pair NAME\n");
        return 2;
    }
    pair = words[1];
    if (is(L"prints-much"))
        for (line = 0; line < 2000; line++) {
            static const char text[] = "a line of output that nobody reads, again and again and again\n";
            DWORD length;
            WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), text, sizeof text - 1, &length, NULL);
        }
    return parent();
}
