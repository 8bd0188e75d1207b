#!/bin/sh
# Installs what building (default), or testing, needs on Debian and its relatives; does nothing when all is there.
#   sh tools/setup.sh          compiler, cmake, ninja, make
#   sh tools/setup.sh web      the same and what the browser's module needs: clang for WebAssembly, Node
#   sh tools/setup.sh test     the same and what `make test` needs: clang, the wasm and arm64 toolchains, qemu, node, browsers
set -eu

missing=""
# need WHAT PACKAGE...: WHAT is a command, or a file if it starts with a slash (shell patterns allowed).
need() {
    what=$1
    shift
    case $what in
    /*) for file in $what; do [ -e "$file" ] && return; done ;;
    *) command -v "$what" >/dev/null 2>&1 && return ;;
    esac
    missing="$missing $*"
}

goal=${1:-build}
need make make
need cc gcc
need cmake cmake
need ninja ninja-build
! command -v apt-get >/dev/null 2>&1 || need /usr/include/stdio.h libc6-dev # elsewhere headers have other places
web_tools() {
    need clang-19 clang-19
    need wasm-ld-19 lld-19
    need /usr/include/wasm32-wasi/stdio.h wasi-libc
    need "/usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a" libclang-rt-19-dev-wasm32
    need node nodejs
}
case $goal in
build) ;;
web) web_tools ;;
test)
    web_tools
    need gcc gcc
    need g++ g++
    need clang clang
    need "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a" libclang-rt-14-dev
    need llvm-symbolizer llvm
    need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    need qemu-aarch64 qemu-user
    need npm npm
    need chromium chromium
    need firefox-esr firefox-esr
    ;;
*)
    echo "setup.sh: unknown goal '$goal', expected build, web or test" >&2
    exit 2
    ;;
esac
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup.sh: missing, please install:$missing" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "setup.sh: as root, run: apt-get install$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "Installing:$missing"
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
apt update >/dev/null || echo "setup.sh: apt-get update failed, trying with the lists that are there" >&2
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing >/dev/null || {
    echo "setup.sh: apt-get could not install:$missing" >&2
    exit 1
}
