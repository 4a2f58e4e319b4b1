#!/bin/sh
# Interesting is what the program cannot have.
moire-opt "$1" --run-reproducer 2>&1 | grep -q "has no statement in a CPU program"
