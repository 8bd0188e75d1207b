#!/bin/bash
# paging.sh: the paging tables of docs/PERFORMANCE.md.
#   bench/paging.sh routing                         hit rates of the cache policies on the bundled model's routing
#   bench/paging.sh tiers MODEL                     what the store of MODEL's files gives
#   bench/paging.sh budget SHAPE TYPE RAM [FOLDER]  makes SHAPE in TYPE with `doppler synth` below FOLDER (default
#                                                   /tmp/doppler-bench), runs it with --ram RAM, removes it again
#   bench/paging.sh resident MODEL OTHER            decode speed of all weights in memory: this program and OTHER, in turn
#   bench/paging.sh gpu [FOLDER] [LAYERS]           experts in a GPU's slots: gpt-oss-20b and Qwen3-30B-A3B shapes (30 GB below
#                                                   FOLDER, less with only LAYERS), resident, under --vram, and half resident.
#                                                   LAUNCH: what starts the program, e.g. "build/webgpu/run --nvidia"
#   bench/paging.sh misses [FOLDER] [LAYERS]        of gpt-oss-20b shapes the experts that a GPU lacks: sent there, computed by the
#                                                   CPU, fetched by the GPU, in turn (TURNS, default 2). LAUNCH as above
# DOPPLER: the program, default build/doppler. Where /sys/fs/cgroup/memory can be written (root), `budget` runs in a control
# group that is limited to RAM and prints what the kernel counted.
set -eu
cd "$(dirname "$0")/.."
doppler=${DOPPLER:-build/doppler}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

routing() {
    "$doppler" perplexity models/storyteller tests/data/storyteller/eval.jsonl --device cpu --batch 1 --quiet \
        --record-routing "$work/all.txt" >/dev/null
    head -30001 "$work/all.txt" >"$work/trace.txt" # 5,000 tokens of 6 layers
    "$doppler" cache-replay "$work/trace.txt"
}

# Bytes of a size such as 16G.
bytes() { awk -v s="$1" 'BEGIN { n = s + 0; u = toupper(substr(s, length(s))); i = index("KMG", u); print n * (i ? 1024 ^ i : 1) }'; }

budget() {
    local shape=$1 type=$2 ram=$3 dir=${4:-/tmp/doppler-bench} group=/sys/fs/cgroup/memory/doppler-$$ limited=
    mkdir -p "$dir"
    "$doppler" synth --like "$shape" --quantize "$type" --overwrite --quiet "$dir/$shape"
    if mkdir "$group" 2>/dev/null; then
        bytes "$ram" >"$group/memory.limit_in_bytes" && limited=yes
    fi
    for routing in uniform local:0.4; do
        (
            [ -z "$limited" ] || echo $BASHPID >"$group/cgroup.procs"
            exec "$doppler" bench "$dir/$shape" --device cpu --ram "$ram" --routing $routing --prefill 64 --decode 16 --repeat 1 \
                --no-bandwidth --paging
        ) 2>&1 | sed "s/^/$routing: /"
    done
    if [ -n "$limited" ]; then
        echo "control group: limit $(cat "$group/memory.limit_in_bytes"), peak $(cat "$group/memory.max_usage_in_bytes")," \
            "limit reached $(cat "$group/memory.failcnt") times, $(grep -E '^swap ' "$group/memory.stat" || echo swap not counted)"
        sleep 1
        rmdir "$group"
    fi
    rm -rf "${dir:?}/$shape"
}

# Taken in turn, because other load changes with time.
resident() {
    for _ in $(seq "${TURNS:-5}"); do
        for program in "$doppler" "$2"; do
            echo "$program $("$program" bench "$1" --device cpu --prefill 0 --decode "${TOKENS:-64}" --repeat 1 --no-bandwidth | grep ^decode)"
        done
    done | tee "$work/turns.txt"
    for program in "$doppler" "$2"; do
        echo "$program: median $(grep -F "$program " "$work/turns.txt" | awk '{ print $3 }' | sort -n | sed -n "$(((${TURNS:-5} + 1) / 2))p") tokens/s"
    done
}

# One run: SHAPE, what it shows, its options.
gpu_run() {
    local model=$1 what=$2
    shift 2
    echo "== $(basename "$model"), $what"
    # shellcheck disable=SC2086
    ${LAUNCH:-} "$doppler" bench "$model" --device gpu --prefill 256 --decode 64 --repeat 1 --no-bandwidth --context 1024 --batch 256 \
        --paging "$@" 2>&1 | grep -E '^(prefill|decode)|paging|on the GPU|doppler:' || true
}

# Resident first, then the budget, with experts as the router (of random weights: evenly) and as local:0.4 chooses; then half.
gpu_shape() {
    local shape=$1 type=$2 vram=$3 half=$4 model=$5/$1
    "$doppler" synth --like "$shape" --quantize "$type" ${6:+--layers "$6"} --overwrite --quiet "$model"
    gpu_run "$model" "resident"
    gpu_run "$model" "--vram $vram, by the router" --vram "$vram"
    gpu_run "$model" "--vram $vram, local:0.4" --vram "$vram" --routing local:0.4
    gpu_run "$model" "all experts in slots, local:0.4" --slots $((2 * half)) --routing local:0.4
    gpu_run "$model" "half of the experts, local:0.4" --slots "$half" --routing local:0.4
    gpu_run "$model" "half of the experts, uniform" --slots "$half" --routing uniform
    gpu_run "$model" "half of the experts, local:0.4, 4G of host memory" --slots "$half" --routing local:0.4 --ram 4G
    gpu_run "$model" "resident, again"
    rm -rf "${model:?}"
}

gpu() {
    local dir=${1:-/tmp/doppler-bench}
    mkdir -p "$dir"
    gpu_shape gpt-oss-20b mxfp4 "${VRAM_GPT_OSS:-4G}" 16 "$dir" "${2:-}"
    gpu_shape qwen3-30b-a3b q4_k_m "${VRAM_QWEN3:-8G}" 64 "$dir" "${2:-}"
}

# What becomes of misses, taken in turn.
misses() {
    local dir=${1:-/tmp/doppler-bench} layers=${2:-} model turn way
    model=$dir/gpt-oss-20b
    mkdir -p "$dir"
    "$doppler" synth --like gpt-oss-20b --quantize mxfp4 ${layers:+--layers "$layers"} --overwrite --quiet "$model"
    gpu_run "$model" "resident"
    for turn in $(seq "${TURNS:-2}"); do
        for way in upload cpu fetch; do
            gpu_run "$model" "turn $turn, $way: half of the experts, local:0.4" --slots 16 --routing local:0.4 --misses $way
            gpu_run "$model" "turn $turn, $way: half of the experts, uniform" --slots 16 --routing uniform --misses $way
            gpu_run "$model" "turn $turn, $way: --vram ${VRAM_GPT_OSS:-4G}, local:0.4" --vram "${VRAM_GPT_OSS:-4G}" --routing local:0.4 --misses $way
        done
    done
    gpu_run "$model" "resident, again"
    rm -rf "${model:?}"
}

case ${1:-} in
routing) routing ;;
tiers) "$doppler" bench "$2" --tiers ;;
budget) shift && budget "$@" ;;
resident) shift && resident "$@" ;;
gpu) shift && gpu "$@" ;;
misses) shift && misses "$@" ;;
*) sed -n '2,15s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
