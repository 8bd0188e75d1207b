#!/bin/bash
# The arm64 program's fast path writes what the native reference path writes: story.sh COMMAND... (how to start the program)
set -u
words=(run models/storyteller "Tell me a story about a brave fox." --greedy --max-tokens 40 --quiet)
native=$(build/doppler "${words[@]}" --device cpu-ref)
arm64=$("$@" "${words[@]}" --device cpu)
if [ -n "$native" ] && [ "$native" = "$arm64" ]; then
    echo "1 passed, 0 failed"
else
    printf 'FAIL story\n  native: %s\n  arm64:  %s\n0 passed, 1 failed\n' "$native" "$arm64"
    exit 1
fi
