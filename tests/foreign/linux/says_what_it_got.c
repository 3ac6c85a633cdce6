/* Prints its arguments and its environment, each byte as two hex digits, for a test to compare. */
#include <stdio.h>

extern char **environ;

static void say(const char *what, const char *text)
{
    printf("%s ", what);
    for (; *text != '\0'; text++)
        printf("%02x", (unsigned)(unsigned char)*text);
    printf("\n");
}

int main(int argc, char **argv)
{
    char **variable;
    int i;

    for (i = 1; i < argc; i++)
        say("arg", argv[i]);
    for (variable = environ; *variable != NULL; variable++)
        say("env", *variable);
    return 0;
}
