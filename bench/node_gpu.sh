#!/bin/bash
# node_gpu.sh: decode through doppler-web in Node (the package `webgpu`) and through the native tool, on one adapter, in turns.
#   bench/node_gpu.sh [--driver lavapipe|swiftshader|nvidia|system] [--rounds N] [--tokens N] [MODEL]
# On an NVIDIA card: sh tools/setup_webgpu.sh --nvidia; make demo (or cmake --build build-wasm) for web/doppler.wasm; then
#   build/doppler synth --like llama-3.2-1b /tmp/1b && bench/node_gpu.sh --driver nvidia --tokens 256 /tmp/1b
# Prints tokens/s of each round, the medians and their ratio. Both sides generate greedily, checks off.
set -eu
cd "$(dirname "$0")/.."
driver=lavapipe rounds=5 tokens=100 model=models/storyteller
while [ $# != 0 ]; do
    case $1 in
    --driver) driver=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --tokens) tokens=$2; shift ;;
    -*) sed -n '2,6s/^# //p' "$0" >&2; exit 2 ;;
    *) model=$1 ;;
    esac
    shift
done
home=tests/web/node24 prompt='Tell me a story about a brave fox.'
[ -x $home/node_modules/node/bin/node ] || (cd $home && npm ci)
on() { build/webgpu/run "--$driver" "$@"; }
native() { on build/doppler bench "$model" --device gpu --no-bandwidth --prefill 0 --decode "$tokens" -r 1 | awk '/^decode  /{ print $2 }'; }
# the second of two stories: kernels are compiled in the first
node() {
    on $home/node_modules/node/bin/node --no-warnings --preserve-symlinks --preserve-symlinks-main $home/run.mjs "$model" "$prompt" "$tokens" 2 2>/dev/null |
        tail -1 | sed 's/.*"rates":\[[0-9.e+-]*,\([0-9.]*\).*/\1/'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
a=$(mktemp) b=$(mktemp)
trap 'rm -f "$a" "$b"' EXIT
for ((i = 1; i <= rounds; i++)); do
    native >>"$a"
    node >>"$b"
    printf 'round %d: native %s, node %s tokens/s\n' "$i" "$(tail -1 "$a")" "$(tail -1 "$b")"
done
awk -v n="$(median <"$a")" -v j="$(median <"$b")" 'BEGIN { printf "medians: native %.1f, node %.1f tokens/s: %.0f %%\n", n, j, 100 * j / n }'
