#!/bin/bash
# gpu.sh: the GPU tables of docs/PERFORMANCE.md. Makes each model with `doppler synth`, measures it, removes it again.
#   bench/gpu.sh [--dir FOLDER] [--keep] [--profile] [MODEL...]     FOLDER: /tmp/doppler-bench, with room for the largest model
# DOPPLER: the program, default build/doppler. LAUNCH: what starts it, e.g. "build/webgpu/run --nvidia".
# Prints Markdown rows; the whole output of each run is kept as FOLDER/MODEL.txt.
set -eu
cd "$(dirname "$0")/.."
dir=/tmp/doppler-bench keep= profile= models=
while [ $# != 0 ]; do
    case $1 in
    --dir) dir=$2; shift ;;
    --keep) keep=yes ;;
    --profile) profile=--profile ;;
    -*) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
    *) models="$models $1" ;;
    esac
    shift
done
[ -n "$models" ] || models="llama-3.2-1b gemma-3-1b llama-3.1-8b qwen3-30b-a3b gpt-oss-20b"
doppler() { ${LAUNCH:-} "${DOPPLER:-build/doppler}" "$@"; }
mkdir -p "$dir"

# Speed means nothing if the text is wrong: the bundled model must score its evaluation text as on the CPU.
score() { doppler perplexity models/storyteller tests/data/storyteller/eval.jsonl --device "$1" --json --quiet | sed 's/.*"perplexity": \([0-9.]*\).*/\1/'; }
cpu=$(score cpu) gpu=$(score gpu)
awk -v a="$cpu" -v b="$gpu" 'BEGIN { exit !(a > 1 && (b - a) / a < 0.002 && (a - b) / a < 0.002) }' ||
    { echo "gpu.sh: perplexity of the bundled model is $gpu on the GPU, $cpu on the CPU: not measuring" >&2; exit 1; }
echo "Perplexity of the bundled model: $gpu on the GPU, $cpu on the CPU."
doppler devices | sed -n '/^gpu:1/,/^gpu:2/p' | grep -v '^gpu:2'
echo
echo "| model | load | prefill 512 | first token | decode 128 | weights read | after 8192 | after 32768 |"
echo "|---|---|---|---|---|---|---|---|"

# field FILE NAME NUMBER: a value of the bench's text output.
prefill() { awk '/^prefill  .*tokens\/s/ { print $2 " tokens/s"; exit }' "$1"; }
first() { awk '/^prefill  .*tokens\/s/ { gsub(/[()]/, ""); printf "%.1f ms\n", $7 * 1000; exit }' "$1"; }
decode() { awk -v n="$2" '/^decode  .*tokens\/s/ && ++i == n { print $2 " tokens/s" }' "$1"; }
for model in $models; do
    out=$dir/$model.txt depths=0 context=1024
    case $model in llama-3.1-8b) depths=0,8192,32768 context=33024 ;; esac
    [ -e "$dir/$model/manifest.json" ] || doppler synth --like "$model" "$dir/$model" --quiet
    doppler bench "$dir/$model" --device gpu --no-bandwidth --prefill 512 --decode 128 --depth $depths --context $context $profile >"$out" 2>&1 ||
        { cat "$out" >&2; exit 1; }
    echo "| $model | $(awk '/^load/ { print $2 " s" }' "$out") | $(prefill "$out") | $(first "$out") | $(decode "$out" 1) | $(awk '/^reads/ { print $(NF-1), $NF }' "$out") | $(decode "$out" 2) | $(decode "$out" 3) |"
    [ -n "$keep" ] || rm -rf "${dir:?}/$model"
done
