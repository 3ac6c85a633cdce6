# Builds the two programs. On Windows with mingw: mingw32-make CXX=g++
CXXFLAGS = -Wall -Wextra -g

all: parent child

parent: parent.cpp
	$(CXX) $(CXXFLAGS) -o $@ parent.cpp -pthread

child: child.cpp
	$(CXX) $(CXXFLAGS) -o $@ child.cpp -pthread

clean:
	rm -f parent child parent.exe child.exe

.PHONY: all clean
