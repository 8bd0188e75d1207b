#!/bin/bash
# The README's compile line builds examples/minimal.c outside CMake, and the program tells a story.
set -u
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

line=$(grep -E '^ +cc .*examples/minimal\.c' README.md)
compile=$(echo "${line%%&&*}" | sed "s,-o minimal,-o $scratch/minimal,")
if eval "$compile" && [ -x "$scratch/minimal" ]; then
    passed=1
    if "$scratch/minimal" models/storyteller >"$scratch/story" && [ "$(wc -w <"$scratch/story")" -ge 30 ]; then
        passed=2
    else
        failed=1
        echo "FAIL minimal: expected a story, got: $(head -c 300 "$scratch/story")"
    fi
    if "$scratch/minimal" "$scratch/absent" >"$scratch/error" || ! grep -q absent "$scratch/error"; then
        failed=$((failed + 1))
        echo "FAIL minimal: a missing model must be an error that names it, got: $(head -c 300 "$scratch/error")"
    else
        passed=$((passed + 1))
    fi
else
    failed=1
    echo "FAIL the README's compile line: $compile"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
