/* Prints its arguments and its environment, each unit of UTF-16 as four hex digits, for a test to compare. */
#include <windows.h>
#include <stdio.h>
#include <wchar.h>

static void say(const char *what, const wchar_t *text)
{
    printf("%s ", what);
    for (; *text != L'\0'; text++)
        printf("%04x", (unsigned)*text);
    printf("\n");
}

int wmain(int argc, wchar_t **argv)
{
    wchar_t *block = GetEnvironmentStringsW();
    wchar_t *variable;
    int i;

    for (i = 1; i < argc; i++)
        say("arg", argv[i]);
    for (variable = block; *variable != L'\0'; variable += wcslen(variable) + 1)
        say("env", variable);
    FreeEnvironmentStringsW(block);
    return 0;
}
