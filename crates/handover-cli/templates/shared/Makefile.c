# Builds the two programs. On Windows with mingw: mingw32-make CC=gcc
CFLAGS = -Wall -Wextra -g

all: parent child

parent: parent.c
	$(CC) $(CFLAGS) -o $@ parent.c -pthread

child: child.c
	$(CC) $(CFLAGS) -o $@ child.c -pthread

clean:
	rm -f parent child parent.exe child.exe

.PHONY: all clean
