#!/bin/bash
# Checks on the source text: layers, headers, calls the library must not make, file lengths, the public header, the README.
# Run from anywhere; the last line printed is "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

files() { # files PATTERN...: tracked and new files, ignored ones left out
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files -co --exclude-standard -- "$@" | while read -r f; do [ -f "$f" ] && echo "$f"; done
    else
        for pattern in "$@"; do find . -path './.git' -prune -o -path './build*' -prune -o -path '*/node_modules' -prune -o \
            -path "./$pattern" -type f -print; done | sed 's,^\./,,'
    fi
}

# check FUNCTION NAME: passes if the function prints nothing.
check() {
    "$1" >"$scratch/out"
    shift
    if [ -s "$scratch/out" ]; then
        echo "FAIL $1"
        sed 's/^/    /' "$scratch/out" | head -40
        failed=$((failed + 1))
    else
        echo "ok   $1"
        passed=$((passed + 1))
    fi
}

# A table that a program of tools/ writes says so in its first line.
generated() { head -1 "$1" | grep -q 'made by tools/'; }

# Without comments, line numbers kept. Good enough for C that does not hide comment marks in strings.
code_of() {
    awk '{
        line = $0; out = ""
        while (line != "") {
            if (open) { i = index(line, "*/"); if (!i) break; line = substr(line, i + 2); open = 0; continue }
            a = index(line, "/*"); b = index(line, "//")
            if (b && (!a || b < a) && substr(line, 1, b) !~ /"/) { out = out substr(line, 1, b - 1); break }
            if (!a) { out = out line; break }
            out = out substr(line, 1, a - 1); line = substr(line, a + 2); open = 1
        }
        gsub(/"([^"\\]|\\.)*"/, "\"\"", out)
        print FILENAME ":" FNR ": " out
    }' "$1"
}

layers() {
    files 'src/*.c' 'src/*.h' 'src/*.def' | while read -r file; do
        awk -v file="$file" '
            BEGIN {
                split("base 0 host 1 quant 1 store 2 text 2 format 3 graph 3 cpu 4 gpu 4 arch 4 page 4 engine 5 convert 5 web 6", t, " ")
                for (i = 1; i in t; i += 2) floor[t[i]] = t[i + 1]
                split(file, part, "/"); own = part[2]
                if (!(own in floor)) print file ": folder src/" own " has no floor"
            }
            /^[ \t]*#[ \t]*include[ \t]*"/ {
                split($0, q, "\""); target = q[2]
                if (target == "doppler.h") next
                n = split(target, part, "/"); other = part[1]
                if (n != 2 || !(other in floor)) { print file ":" FNR ": \"" target "\" is not written as \"folder/file.h\""; next }
                if (other != own && floor[other] + 0 >= floor[own] + 0)
                    print file ":" FNR ": " own " (floor " floor[own] ") must not include " target " (floor " floor[other] ")"
            }' "$file"
    done
}

# Outside src/host/ the library may use the part of the C library that wasi-libc has, and instruction-set headers.
system_headers() {
    local allowed='complex|ctype|errno|fenv|float|inttypes|iso646|limits|math|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|string|time'
    local isa='immintrin|emmintrin|tmmintrin|smmintrin|arm_neon|wasm_simd128|cpuid'
    files 'src/*.c' 'src/*.h' | grep -v '^src/host/' | while read -r file; do
        grep -nE '^[ \t]*#[ \t]*include[ \t]*<' "$file" | grep -vE "<($allowed|$isa)\.h>" |
            sed "s,^,$file:," | grep -vE '^src/gpu/gpu_native\.h:.*<webgpu/webgpu\.h>'
    done
    grep -nE '^[ \t]*#[ \t]*include[ \t]*<' include/doppler.h | grep -vE '<(stdbool|stddef|stdint)\.h>'
}

# The library reports through dp_fail and allocates through dp_realloc; only src/base/base.c knows the C library's allocator.
calls() {
    local names='printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror|exit|_Exit|quick_exit|abort|assert|getenv|setenv|system|signal'
    local memory='malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign|alloca'
    local unsafe='strcpy|strcat|sprintf|vsprintf|gets|strtok|scanf|sscanf|rand|srand|setlocale|localtime|gmtime'
    files 'src/*.c' 'src/*.h' | while read -r file; do
        generated "$file" && continue
        local bad="$names|$unsafe"
        [ "$file" = src/base/base.c ] || bad="$bad|$memory"
        code_of "$file" | grep -E "(^|[^A-Za-z0-9_.>])($bad)[ ]*\(" | grep -vE '^[^ ]* *#'
    done
}

too_long() {
    files 'src/*.c' 'src/*.h' 'programs/*.c' 'programs/*.h' 'tests/*.c' 'tests/*.h' 'include/*.h' | while read -r file; do
        generated "$file" && continue
        lines=$(wc -l <"$file")
        [ "$lines" -gt 700 ] && [ "$lines" -le 1000 ] && echo "note: $file has $lines lines (700 is plenty)" >&2
        [ "$lines" -gt 1000 ] && echo "$file has $lines lines, at most 1000"
    done
}

head_comments() {
    files 'src/*.c' 'src/*.h' 'programs/*.c' 'tests/*.c' | while read -r file; do
        head -1 "$file" | grep -qE '^/[/*]' || echo "$file does not start with a comment that says what it owns"
    done
}

public_header() {
    echo '#include "doppler.h"' >"$scratch/a.c"
    cp "$scratch/a.c" "$scratch/a.cc"
    gcc -std=c11 -pedantic -Wall -Wextra -Werror -Iinclude -fsyntax-only "$scratch/a.c" 2>&1
    g++ -std=c++11 -pedantic -Wall -Wextra -Werror -Iinclude -fsyntax-only "$scratch/a.cc" 2>&1
}

# Paths of one machine and hosts of package registries have no place in the tree. ([x] keeps this file from matching.)
machine_traces() {
    files '*' | grep -v '^tests/fuzz/seeds/' | tr '\n' '\0' |
        xargs -0 grep -nIE '(^|[^A-Za-z0-9_.])/([w]ork|[r]oot|[h]ome)/[a-z]|[d]eb\.debian\.org|[s]napshot\.debian|[r]egistry\.npmjs|\.\./[s]hared/|[n]odesource' |
        cut -c1-200
}

# The README's C program is examples/minimal.c, and every command it shows is one the tool knows.
readme_example() {
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$scratch/readme.c"
    [ -s "$scratch/readme.c" ] || echo "README.md shows no C program"
    # the file's head comment stays out of the README
    awk 'body { print } /\*\// { body = 1 }' examples/minimal.c | diff - "$scratch/readme.c"
}
model_guide() {
    awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' docs/ADDING_A_MODEL.md | diff src/arch/mixtral.c -
}
readme_commands() {
    [ -x build/doppler ] || return 0
    build/doppler --help >"$scratch/help" 2>&1 || echo "doppler --help fails"
    grep -oE '(^|[ /`])doppler [a-z]+' README.md | sed 's/.*doppler //' | sort -u | while read -r command; do
        grep -qE "^ *(doppler )?$command( |\$)" "$scratch/help" || echo "README.md shows 'doppler $command', --help does not"
    done
}
readme_goals() {
    grep -oE '^ *make [a-z]+|`make [a-z]+`' README.md | tr -d '`' | awk '{print $2}' | sort -u | while read -r goal; do
        grep -qE "^$goal:" Makefile || echo "README.md shows 'make $goal', the Makefile has no such goal"
    done
}
shell_syntax() {
    files '*.sh' '.ci/run' | while read -r file; do bash -n "$file" 2>&1; done
}

check layers "files include their own folder and lower floors only"
check system_headers "system headers outside src/host/ are ones that wasi-libc has"
check calls "the library does not print, exit, read the environment or bypass the allocator"
check too_long "no file above 1000 lines"
check head_comments "files start with a comment"
check public_header "doppler.h compiles alone as C11 and as C++11"
check machine_traces "no machine's paths or package hosts"
check shell_syntax "shell scripts parse"
check model_guide "docs/ADDING_A_MODEL.md shows src/arch/mixtral.c as it is"
if [ -f README.md ]; then
    check readme_example "README: the C program is examples/minimal.c"
    check readme_commands "README: every command is in doppler --help"
    check readme_goals "README: every make goal exists"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
