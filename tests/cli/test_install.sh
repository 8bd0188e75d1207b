#!/bin/bash
# What `cmake --install` puts somewhere works there: the tool finds its model, and a program compiles against header and library.
set -u
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0
check() {
    local name=$1
    shift
    if "$@" >"$scratch/log" 2>&1; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "FAIL $name: $(head -c 300 "$scratch/log")"
    fi
}

source=$PWD prefix="$scratch/a prefix"
check "install" cmake --install build --prefix "$prefix"
cd "$scratch" || exit 1
check "the tool finds the bundled model" "$prefix/bin/doppler" run --max-tokens 5 "Tell me a story."
check "no path of the build is in the package" test -z "$(grep -rl "$source" "$prefix" --include='*.pc' --include='*.h')"
if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name doppler.pc)")
    check "pkg-config" pkg-config --exact-version="$("$prefix/bin/doppler" --version | cut -d' ' -f2)" doppler
    check "a program compiles" eval "cc '$source/examples/minimal.c' $(pkg-config --cflags --libs doppler) -o minimal"
    check "it tells a story" ./minimal "$prefix/share/doppler/models/storyteller"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
