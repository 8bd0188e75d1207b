#!/bin/bash
# Tests of the doppler tool as a user meets it: help, exit codes, every command on the bundled model, damaged and odd input,
# signals. Prints a line per check; the last line counts them.
#   tests/cli/test_cli.sh [WORD]    only sections whose name contains WORD
# DOPPLER: the program (default build/doppler).
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
doppler=${DOPPLER:-$root/build/doppler}
model=$root/models/storyteller
only=${1:-}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export HOME=$tmp XDG_STATE_HOME=$tmp/state
unset DOPPLER_MODEL
cd "$tmp" || exit 1
passed=0 failed=0 skipped=0

# ---- helpers ----

pass() { passed=$((passed + 1)); echo "ok   $1"; }
fail() {
    failed=$((failed + 1))
    echo "FAIL $1: ${2:-}"
    printf '     %s\n' "exit code $code" "stdout: $(head -c 300 "$tmp/out" | tr '\n' '|')" \
        "stderr: $(head -c 300 "$tmp/err" | tr '\n' '|')"
}
skip() { skipped=$((skipped + 1)); echo "SKIP $1: $2"; }

# run ARG...: the tool with an empty standard input; leaves $code, $tmp/out, $tmp/err
run() { code=0; "$doppler" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null || code=$?; }
# feed TEXT ARG...: the same with TEXT on standard input
feed() { local text=$1; shift; code=0; printf '%s' "$text" | "$doppler" "$@" >"$tmp/out" 2>"$tmp/err" || code=$?; }

# expect NAME CODE [WHERE PATTERN]...: exit code, and extended regular expressions within out or err
expect() {
    local name=$1 want=$2
    shift 2
    if [ "$code" != "$want" ]; then fail "$name" "expected exit code $want"; return; fi
    while [ $# -ge 2 ]; do
        if ! grep -qE -- "$2" "$tmp/$1"; then fail "$name" "no \"$2\" in std$1"; return; fi
        shift 2
    done
    pass "$name"
}
# fails NAME CODE PATTERN: a failure with one line on stderr and nothing on stdout
fails() {
    if [ "$code" != "$2" ]; then fail "$1" "expected exit code $2"
    elif [ -s "$tmp/out" ]; then fail "$1" "output in spite of the failure"
    elif [ "$(wc -l <"$tmp/err")" != 1 ] || ! grep -q '^doppler: ' "$tmp/err"; then fail "$1" "expected one line \"doppler: ...\""
    elif ! grep -qE -- "$3" "$tmp/err"; then fail "$1" "the message lacks \"$3\""
    else pass "$1"; fi
}
check() { local name=$1; shift; if "$@"; then pass "$name"; else fail "$name" "$*"; fi; }
section() { case $1 in *"$only"*) return 0 ;; *) return 1 ;; esac; }
# A JSON number by its key, from $tmp/out.
number() { grep -oE "\"$1\": *-?[0-9.eE+-]+" "$tmp/out" | head -1 | sed 's/.*: *//'; }
# True within a comparison of awk, e.g. holds "1.2 < 3"
holds() { awk "BEGIN { exit !($1) }"; }
# wait_for FILE: until it has content, at most 20 s
wait_for() { local i; for i in $(seq 200); do [ -s "$1" ] && return 0; sleep 0.1; done; return 1; }
# wait_ready PID: until that process has its own answer to SIGINT, at most 20 s; it is signal 2, bit 1 of Linux's mask
wait_ready() {
    local i mask
    for i in $(seq 200); do
        mask=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null)
        [ $(((0x${mask:-0} >> 1) & 1)) = 1 ] && return 0
        sleep 0.1
    done
    return 1
}
# flip FILE OFFSET: changes one byte
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    printf "\\$(printf %o $((byte ^ 85)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# ---- sections ----

test_help() {
    run; expect "no arguments: help with examples" 0 out "Usage: doppler COMMAND" out "doppler run "
    run --help; expect "--help lists the exit codes" 0 out "Exit codes" out "130 interrupted"
    run --version; expect "--version" 0 out '^doppler [0-9]+\.[0-9]+\.[0-9]+$'
    for c in run chat tokenize inspect verify convert synth perplexity bench logits trace devices cache-replay; do
        run $c --help; expect "$c --help" 0 out "^Usage: doppler $c" out "^Examples"
        cp out "help.$c"
        run help $c; check "help $c is the same" cmp -s out "help.$c"
    done
}

test_memory() {
    run run "$fox" --greedy --max-tokens 40 --quiet; cp out resident
    for slots in 1 2 4; do
        run run "$fox" --greedy --max-tokens 40 --quiet --slots $slots
        check "$slots slots: the same text" cmp -s out resident
    done
    run run "$fox" --greedy --max-tokens 40 --slots 4 --cache lru --paging
    expect "--paging tells what it did" 0 err 'paging: 4 to 4 slots a layer, [0-9]+ hits, [1-9][0-9]* misses' err 'MB read in [0-9]+ reads'
    run run "$fox" --max-tokens 5 --slots 4 --paging --json; expect "--paging --json" 0 out '"paging": \{"paging": true.*"misses": [1-9]'
    run run "$fox" --ram 1M; fails "a budget below a token" 12 'budget of 1 MB is [0-9]+ MB short: one token needs [0-9]+ MB'
    run run "$fox" --vram 1G --device cpu; fails "--vram needs a GPU" 17 'graphics memory'
    cp -r "$model" spoilt && flip spoilt/shard_00007.bin 6000
    run run spoilt "$fox" --slots 2 --greedy --max-tokens 40; fails "a flipped byte under paging" 16 'layer 0, expert 6: shard_00007.bin'
    run run spoilt "$fox" --slots 2 --greedy --max-tokens 40 --quiet --mirror "$model"; check "--mirror stands in" cmp -s out resident
    run bench --prefill 8 --decode 8 --repeat 1 --no-bandwidth --slots 4 --routing local:0.9 --record-routing near.txt --paging --device cpu
    expect "bench --routing local" 0 err 'hits'
    run cache-replay near.txt --slots 2,4; expect "cache-replay" 0 out 'slots +resident +lru +lrfu +belady' out '^ +4 +50.0 %'
    run cache-replay near.txt --slots 4 --policy belady --json; expect "cache-replay --json" 0 out '"policy": "belady", "slots": 4, "hits": [0-9]+'
    run bench --prefill 8 --decode 0 --no-bandwidth --routing trace:near.txt --device cpu; expect "bench --routing trace" 0
    run bench --routing sideways; fails "unknown routing" 2 'uniform, local:P'
    run cache-replay near.txt --policy fifo; fails "unknown policy" 2 'lru, lrfu and belady'
    run bench "$model" --tiers --device cpu; expect "bench --tiers" 0 out '^host memory +[0-9]' out 'a read of 4 KiB +[0-9.]+ ms' out '8 at a time'
    run bench "$model" --tiers --device cpu --json; expect "bench --tiers --json" 0 out '"store": \{"freeBytes": [0-9]+' out '"device": null'
    run cache-replay spoilt/manifest.json; fails "no trace" 15 'doppler-routing 1'
}

test_usage() {
    run rnu; fails "unknown command: did you mean" 2 'unknown command "rnu"; did you mean "run"'
    run frobnicate; fails "unknown command without a likeness" 2 'doppler --help'
    run run --tempreature 1 x; fails "unknown option: did you mean" 2 'did you mean --temperature'
    run run --frob; fails "unknown option without a likeness" 2 'doppler run --help'
    run run -Q; fails "unknown letter" 2 'unknown option -Q'
    run run --top-k many x; fails "not a number" 2 '--top-k: expected a whole number .*"many"'
    run run --top-p 1.5 x; fails "number out of range" 2 '--top-p: expected a number from 0 to 1'
    run run --max-tokens; fails "missing value" 2 '--max-tokens needs a value'
    run run --greedy=yes x; fails "a flag with a value" 2 'takes no value'
    run run --seed -1 x; fails "negative seed" 2 '--seed: expected'
    run run --device npu x; fails "unknown device" 2 'expected auto, cpu, cpu-ref, gpu or gpu:N, found "npu"'
    run run --device gpu:0 x; fails "device zero" 2 'gpu:N, found "gpu:0"'
    run run --device gpu:1x x; fails "device with more behind it" 2 'gpu:N, found "gpu:1x"'
    run run "$model" "$fox" --device gpu --gpu-library /nowhere/libwebgpu.so; fails "no WebGPU" 17 'WebGPU.*setup_webgpu'
    run run a b c; fails "too many arguments" 2 'unexpected argument "c"'
    run devices x; fails "an argument where none is taken" 2 'unexpected argument "x"; usage: doppler devices$'
    run run --ram 8 x; fails "a budget of 8 bytes" 2 '--ram: expected at least 1M .*"8"'
    run run "$fox" --mirror "$tmp/none"; fails "a mirror that is not there" 14 '--mirror: .*none is no folder'
    run inspect $'a\nb\033[31m.gguf'; fails "control characters in a name" 14 '^doppler: a\?b\?\[31m.gguf: no such file'
    run inspect; fails "missing argument" 2 'usage: doppler inspect MODEL'
    run convert a b --shard-size 12Q; fails "bad size" 2 '--shard-size: expected a size such as 64M'
    run logits "$tmp" --ids 1; fails "logits without --output" 2 '--output'
    run synth --like no-such-model out; fails "unknown shapes: the list" 2 'llama-3.2-1b'
    run synth --list; expect "synth --list" 0 out '^qwen3-0.6b$' out '^deepseek-v3$'
    run run "$tmp/none.gguf" hello; fails "model that is not there" 14 'none.gguf: no such file'
    run run missing/model; fails "a lone argument that looks like a path" 14 'missing/model'
    run run "" hello; fails "an empty name of a model" 14 'empty name'
    run bench "$model" --prefill 9999999; fails "a prompt beyond all bounds" 2 'numbers from 0 to 1048576, .*"9999999"'
    run logits "$model" --ids -1 --output x; fails "a negative id" 2 'found "-1"'
    run logits "$model" --ids a,b --output x; fails "neither ids nor a file" 14 'a,b: no such file, and no list'
    run logits "$model" --ids 1 --output /; fails "a folder to write to" 2 '/: is a folder'
    run convert "$model" out.safetensors; fails "safetensors are not written" 17 'out.safetensors: .*\.gguf'
    DOPPLER_MODEL=$tmp/none run run hello; fails "DOPPLER_MODEL that is not there" 14 'none: no such file'
}

test_bad_files() {
    : >empty.gguf
    run run empty.gguf hello; fails "empty .gguf" 15 'empty.gguf'
    head -c 5000 /dev/urandom >garbage.gguf
    run inspect garbage.gguf; fails "garbage .gguf" 15 'garbage.gguf'
    printf 'GGUF\003\000\000\000\377\377\377\377\377\377\377\177\377\377\377\377\377\377\377\177' >hostile.gguf
    run inspect hostile.gguf; fails "hostile counts" 15 'hostile.gguf'
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n' >pointer.gguf
    run inspect pointer.gguf; fails "a pointer of Git LFS" 15 'pointer.gguf: a Git LFS pointer'
    mkdir -p cloned && cp pointer.gguf cloned/model.safetensors && echo '{"model_type": "llama"}' >cloned/config.json
    run inspect cloned; fails "a clone without its large files" 15 'model.safetensors: a Git LFS pointer'
    for file in config.json tokenizer.json tokenizer_config.json; do
        rm -rf cloned && cp -r "$model" cloned && cp pointer.gguf "cloned/$file"
        if [ $file = config.json ]; then mv cloned/manifest.json cloned/model.safetensors; fi
        run run cloned hello; fails "$file is a pointer of Git LFS" 15 "^doppler[^/]*cloned/$file: a Git LFS pointer.*git lfs pull"
    done
    run convert cloned pointed; fails "a pointer is not converted" 15 'tokenizer_config.json: a Git LFS pointer'
    mkdir -p lacking && echo '{"model_type": "llama"}' >lacking/config.json && echo '{"weight_map": {"x": "model-00001-of-00002.safetensors"}}' >lacking/model.safetensors.index.json
    run inspect lacking; fails "an index without its files" 14 'model-00001-of-00002.safetensors: no such file'
    mkdir -p bare
    run run bare hello; fails "folder without a model" 14 'bare'
    mkdir -p junk && echo '{"version": ' >junk/manifest.json
    run inspect junk; fails "broken manifest" 15 'manifest.json'
    echo 'not a tokenizer' >tokenizer.json
    feed x tokenize tokenizer.json; fails "broken tokenizer.json" 15 'tokenizer.json'
    run tokenize "$tmp/none.json"; fails "tokenizer that is not there" 14 'none.json'
    if [ "$(id -u)" = 0 ]; then
        skip "unreadable file" "root reads everything"
    else
        cp garbage.gguf locked.gguf && chmod 000 locked.gguf
        run inspect locked.gguf; fails "unreadable file" 13 'locked.gguf'
    fi
}

fox="Tell me a story about a brave fox."
fox_ids="1, 3, 410, 337, 263, 394, 428, 263, 1211, 1106, 18, 4" # by transformers, of the rendered chat template
rendered="<s>[INST]$fox[/INST]"

test_run() {
    run run --max-tokens 40; expect "no arguments: the default prompt" 0 err 'brave fox' err 'seed [0-9]+' out '[a-z]'
    run run "$fox" --seed 5; expect "a prompt for the bundled model" 0 err '^12 prompt tokens .* tokens/s' err 'end of text'
    cp out first
    run run "$model" "$fox" --seed 5; check "same seed, same text" cmp -s out first
    run run "$fox" --seed 6; check "another seed, another text" test "$(cat out)" != "$(cat first)"
    feed "$fox" run --seed 5; check "prompt from standard input" cmp -s out first
    feed "$fox" run "$model" - --seed 5; check "prompt - is standard input" cmp -s out first
    run run --raw "$rendered" --seed 5; expect "--raw" 0 out '[a-z]'
    run run "$fox" --greedy; cp out greedy
    expect "greedy text tells of a fox" 0 out 'fox'
    run run "$fox" --temperature 0 --threads 1; check "greedy on one thread is the same" cmp -s out greedy
    run run "$fox" --greedy --quiet; check "--quiet writes nothing to stderr" test ! -s err
    run run "$fox" --greedy --max-tokens 5; expect "--max-tokens" 0 err '5 new tokens' err 'max-tokens'
    word=$(tr -s ' ' '\n' <greedy | sed -n 8p)
    run run "$fox" --greedy --stop "$word"; expect "--stop ends the text" 0 err 'stop string'
    check "--stop leaves the stop string out" test "$(cat out)" = "$(awk -v w="$word" '{ i = index($0, w); print i ? substr($0, 1, i - 1) : $0; if (i) exit }' greedy)"
    run run "$fox" --greedy --json; expect "--json" 0 out '^\{"model": ".*"stop": "end"' out '"decode_tokens_per_second": [0-9]'
    run run "$fox" --context 8; fails "prompt longer than the context" 18 '12 tokens.* 8 .*--context'
    run run "$(printf 'a %.0s' $(seq 2000))"; fails "prompt longer than the model's context" 18 'the model has no more'
    head -c 17000000 /dev/zero | tr '\0' a >long.txt
    code=0; "$doppler" run --quiet <long.txt >out 2>err || code=$?; fails "a prompt of 17 MB" 18 'has 17000004 bytes .*at most 16777216'
    printf 'a\0b' >nul.txt
    code=0; "$doppler" run --quiet <nul.txt >out 2>err || code=$?; fails "a NUL byte in the prompt" 2 'offset 1'
    run run "$fox" --seed 18446744073709551615 --max-tokens 3 --json; expect "the largest seed" 0 out '"seed": 18446744073709551615'
    run run "$fox" --greedy --context 20; expect "context full" 0 err 'context full'
    run run "$fox" --system "Be brief."; expect "--system" 0 out '.'
    run run "$fox" --greedy --max-tokens 9 --batch 1 --kv f32 --isa scalar --backend cpu --quiet
    expect "another way to the same text" 0; check "which begins alike" test "$(cat out)" = "$(head -c $(($(wc -c <out) - 1)) greedy)"
    run run "$fox" --greedy --max-tokens 60 --repetition-penalty 1.5 --repeat-last 32 --quiet
    check "--repetition-penalty changes the text" test "$(cat out)" != "$(head -c "$(($(wc -c <out) - 1))" greedy)"
    run run "$fox" --raw --system x; fails "--system with --raw" 2 '--system'
    code=0; "$doppler" run "$fox" --max-tokens 5 >&- 2>err </dev/null || code=$?; : >out
    fails "standard output closed" 13 'standard output: Bad file'
    code=0; "$doppler" run <&- >out 2>err || code=$?; fails "standard input closed" 13 'standard input: Bad file'
    code=0; "$doppler" run "$fox" --max-tokens 5 >/dev/full 2>err </dev/null || code=$?; : >out
    expect "standard output full" 19 err 'standard output: No space'
}

test_reference() {
    run run "$fox" --greedy --device cpu-ref --max-tokens 30; expect "cpu-ref writes" 0 out 'fox'
    run trace "$model" --ids "$fox_ids" --compare cpu-ref,cpu; expect "trace --compare agrees" 0 out 'lm_head' err 'agree within'
    run trace "$model" "$fox" --compare cpu-ref,cpu --tolerance 0.0000001; expect "trace --compare parts" 21 err 'part at'
    run trace "$model" --ids 1,3,410 --json; expect "trace --json" 0 out '"op": "attention", "rows": 3'
    run trace "$model" --compare cpu; fails "trace --compare needs two" 2 'apart by a comma'
    run devices --json; expect "devices --json" 0 out '"gpuError": '
}

test_tokenize() {
    feed "$rendered" tokenize "$model" --no-special; check "ids" test "$(cat out)" = "{\"ids\": [$fox_ids]}"
    feed "x" tokenize "$model"; expect "special tokens are added" 0 out '\[1, '
    feed "" tokenize "$model" --no-special; check "no text, no ids" test "$(cat out)" = '{"ids": []}'
    feed "[$fox_ids]" tokenize "$model" --decode; check "--decode" test "$(cat out)" = "{\"text\": \"$rendered\"}"
    feed "$fox_ids" tokenize "$model" --decode --no-special; check "--decode --no-special" test "$(cat out)" = "{\"text\": \"$fox\"}"
    feed "{\"text\": \"$rendered\"}
{\"ids\": [$fox_ids]}
" tokenize "$model" --no-special --jsonl
    check "--jsonl" test "$(cat out)" = "{\"ids\": [$fox_ids]}
{\"text\": \"$fox\"}"
    feed '{"text": 3}' tokenize "$model" --jsonl; fails "--jsonl: not a text" 15 'line 1'
    feed '{"ids": [99999]}' tokenize "$model" --jsonl; expect "--jsonl: an unknown id has no text" 0 out '"text": ""'
    feed 'one, two' tokenize "$model" --decode; fails "--decode: not ids" 2 'token ids'
    if [ -f "$model/tokenizer.json" ]; then
        feed "$rendered" tokenize "$model/tokenizer.json" --no-special
        check "a tokenizer.json alone" test "$(cat out)" = "{\"ids\": [$fox_ids]}"
    fi
}

test_logits() {
    run logits "$model" --ids 1,3,410 --output l.f32; expect "logits" 0 err '3 x 1378'
    check "logits: size" test "$(stat -c %s l.f32 2>/dev/null)" = $((3 * 1378 * 4))
    echo '[1, 3, 410]' >ids.json
    run logits "$model" --ids ids.json --output m.f32 --quiet; check "ids from a file" cmp -s l.f32 m.f32
    run logits "$model" --ids 1,3,410 --output r.f32 --reference; expect "logits --reference" 0 err 'r.f32'
    run logits "$model" --ids 1,3,410 --output - --quiet; check "logits to standard output" cmp -s l.f32 out
    run logits "$model" --ids 1,1378 --output n.f32; fails "id outside the vocabulary" 2 '1378'
    check "a failure leaves no file" test ! -e n.f32
    run logits "$model" --ids 1,2 --output none/n.f32 --quiet; expect "no such folder" "$code" err '^doppler: .*none'
    check "no such folder: fails" test "$code" != 0
}

test_perplexity() {
    printf '{"text": "[INST]%s[/INST]"}\n\n{"text": "[INST]%s[/INST]"}\n' "$fox" "$fox" >eval.jsonl
    run perplexity "$model" eval.jsonl --json; expect "JSON lines" 0 out '"sequences": 2'
    check "12 losses a line: begin and end token included" test "$(number tokens)" = 24
    printf 'There was once a fox named Milo, who was afraid of nothing. The wind was strong that day.' >plain.txt
    run perplexity "$model" plain.txt --json; expect "plain text" 0 out '"perplexity": [0-9]'
    whole=$(number tokens)
    run perplexity "$model" plain.txt --context 8 --json; check "windows score every token once" test "$(number tokens)" = "$whole"
    code=0; "$doppler" perplexity "$model" - --json <plain.txt >out 2>err || code=$?
    check "plain text from a pipe" test "$code$(number tokens)" = "0$whole"
    run perplexity "$model" plain.txt --context 8 --stride 2 --json; check "closer windows score every token once" test "$(number tokens)" = "$whole"
    run perplexity "$model" plain.txt --context 8 --stride 9; fails "windows that leave tokens out" 2 '--stride: windows of [0-9]+ tokens 9 apart'
    run perplexity "$model" plain.txt; expect "for people" 0 out '^perplexity  [0-9.]+ \+- '
    # 1.347933 is the value of the weights before quantisation, 1.3483 and 1.3510 are the bars of the whole file; the scalar
    # reference takes minutes for that, so it does three lines, which stand at 1.355744 before quantisation.
    cp "$root/tests/data/storyteller/eval.jsonl" stories.jsonl
    run perplexity "$model" stories.jsonl --json
    check "quality of the bundled model" holds "1.3475 < $(number perplexity) && $(number perplexity) < 1.3510"
    check "every token of it" test "$(number tokens)" = 11913
    head -3 stories.jsonl >three.jsonl
    run perplexity "$model" three.jsonl --json --device cpu-ref
    check "quality on the reference" holds "1.3553 < $(number perplexity) && $(number perplexity) < 1.3561"
    echo '{"txt": "x"}' >bad.jsonl
    run perplexity "$model" bad.jsonl; fails "JSON lines without a text" 15 'bad.jsonl, line 1'
    run perplexity "$model" eval.jsonl --context 8; fails "a line longer than the context" 18 'line 1'
    : >nothing.txt
    run perplexity "$model" nothing.txt; fails "an empty file" 15 'no text'
}

test_files() {
    run inspect "$model"; expect "inspect" 0 out 'mixtral'
    run inspect "$model" --all; expect "inspect --all" 0 out 'layers.5.block_sparse_moe.experts.7.w3.weight'
    run inspect "$model" --json; expect "inspect --json" 0 out '^\{'
    run verify "$model"; expect "verify" 0 out '^ok '
    cp -r "$model" copy && chmod -R u+w copy
    shard=$(cd copy && ls -S ./*.bin | head -1 | sed 's|./||')
    flip "copy/$shard" 1000
    run verify copy; expect "verify: a changed byte" 16 out "$shard"
    run convert copy vouched; fails "a damaged model is not converted" 16 "copy/$shard: damaged"
    check "nothing of it is left" test ! -e vouched
    run verify copy --json; expect "verify --json: a changed byte" 16 out "\"file\": \"[^\"]*$shard\""
    run run copy "$fox" --verify --quiet; fails "run --verify: a changed byte" 16 "$shard"
    cp "$model/$shard" "copy/$shard" && chmod u+w "copy/$shard"
    truncate -s -1 "copy/$shard"
    run verify copy; expect "verify: a short shard" 16 out "^bad   copy/$shard"
    run run copy "$fox" --quiet; expect "run: a short shard" "$code" err "^doppler: .*$shard"
    check "run: a short shard fails" test "$code" = 15
    rm "copy/$shard"
    run run copy "$fox" --quiet; fails "run: a missing shard" 14 "$shard"
    second=$(cd copy && ls -S ./*.bin | head -1 | sed 's|./||')
    truncate -s -1 "copy/$second"
    run verify copy; expect "verify: a missing shard" 16 out "^bad   copy/$shard"
    expect "verify: the short one is named as well" 16 out "^bad   copy/$second"
    run verify garbage; fails "verify: nothing there" 14 'garbage'
}

test_convert() {
    run convert "$model" out.gguf; expect "RDRR to GGUF" 0 err 'out.gguf: [0-9]+ tensors'
    check "progress is silent without a terminal" test "$(grep -c "$(printf '[\r\033]')" err)" = 0
    run verify out.gguf; expect "verify says what has no hashes" 0 out '^ok    out.gguf \(its structure'
    run convert "$model" named --name foo --sharding layer --quiet; run inspect named --json
    expect "convert --name --sharding" 0 out '"name": "foo"' out '"sharding": "layer"'
    run convert out.gguf back; expect "GGUF to RDRR" 0 err '[0-9] shards'
    run verify back; expect "what was converted verifies" 0 out '^ok '
    run run "$model" "$fox" --greedy --quiet; cp out before
    run run back "$fox" --greedy --quiet; check "the same text from it" cmp -s out before
    run run out.gguf "$fox" --greedy --quiet; check "the same text from the GGUF file" cmp -s out before
    run convert "$model" back; fails "existing output" 2 'back exists.*--overwrite'
    run convert "$model" back --overwrite --json; expect "--overwrite" 0 out '"bytes_out": [0-9]'
    run convert "$model" other --quantize q3_x; fails "unknown weight format" 2 'q3_x'
    check "a failure leaves nothing" test ! -e other
    run convert "$model" "$tmp/out.gguf/x" --quiet; expect "a folder that cannot be" "$code" err '^doppler: '
    check "a folder that cannot be: fails" test "$code" != 0
    run synth --like qwen3-0.6b "$tmp/out.gguf/x" --quiet; check "synth: a folder that cannot be" test "$code" != 0
}

test_chat() {
    feed "$fox
/stats
/regenerate
/save talk.json
/reset
/load talk.json
/undo
/nonsense
/exit
" chat --greedy --max-tokens 30
    expect "chat without a terminal" 0 out 'fox' err 'unknown command /nonsense' err '2 messages saved' err 'positions used'
    check "chat: saved file" grep -q '^{"messages": \[{"role": "user", "content": "Tell me' talk.json
    feed "And then?
" chat --load talk.json --greedy --max-tokens 10; expect "chat --load" 0 out '.'
    feed "$fox
$fox
" chat --context 24 --greedy; expect "chat: context full" 0 err '/reset starts anew'
    run chat "$model"; expect "chat: end of input at once" 0
    code=0; "$doppler" chat "$model" <&- >out 2>err || code=$?; fails "chat: standard input closed" 13 'standard input: Bad file'
    code=0; "$doppler" convert "$model" unseen --quiet <&- >&- 2>&- || code=$?; "$doppler" verify unseen >out 2>err
    check "convert with all streams closed" test "$code$(cat out)" = "0ok    unseen"
    printf 'Tell me\0 more\n' >nul.txt
    code=0; "$doppler" chat "$model" <nul.txt >"$tmp/out" 2>"$tmp/err" || code=$?
    expect "chat: a NUL byte in a line" 2 err 'the line has a NUL byte at offset 7'
}

test_bench() {
    run bench "$model" --prefill 8,16 --decode 4 --repeat 1 --json --no-bandwidth
    expect "bench --json" 0 out '"prefill": \[\{"tokens": 8' out '"bytes_per_token": [0-9]' out '"peak_memory_bytes": [0-9]'
    run bench "$model" --prefill 0 --decode 2 --repeat 1; expect "bench for people" 0 out '^decode .*tokens/s' out '^bandwidth .*/s'
    run bench "$model" --prefill 8 --decode 4 --repeat 1 --no-bandwidth --depth 0,20 --sampled; expect "bench --depth --sampled" 0 out '4 tokens sampled .* after 20 others'
    run bench "$model" --prefill 0 --decode 4 --repeat 1 --no-bandwidth --forced; expect "bench --forced" 0 out '4 tokens evaluated'
    run bench "$model" --forced --sampled; fails "bench: two kinds of decoding" 2 '--forced and --sampled'
    run bench "$model" --prefill 20 --decode 2 --repeat 1 --no-bandwidth --profile --device cpu
    expect "bench --profile" 0 out '^prefill +op' out '^decode, one token' out '^lm_head +matmul +1 '
    run bench "$model" --prefill 20 --decode 2 --repeat 1 --no-bandwidth --profile --json --device cpu
    expect "bench --profile --json" 0 out '"profile": \{"prefill": \[\{"label": .*"decode": \[\{"label": '
    run bench "$model" --depth 2000; fails "bench: more than the model's context" 18 'the model has no more'
    run bench "$model" --prefill 8,x; fails "bench: bad list" 2 '--prefill'
}

# type_keys KEYS...: each as soon as the line editor has asked for one more line
type_keys() {
    local lines=0 keys i
    for keys in "$@"; do
        lines=$((lines + 1))
        for i in $(seq 200); do [ "$(grep -c '\[?2004h' typescript)" -ge $lines ] && break; sleep 0.1; done
        printf '%b' "$keys"
    done
}

test_terminal() {
    if ! script --version 2>/dev/null | grep -q util-linux; then skip "keys on a terminal" "no script(1) of util-linux"; return; fi
    : >typescript
    type_keys 'helo\e[Dl\r' '/reset\r' 'again\e[A\e[A\001X\013\025second\r' '/save no.json\001\005\027two.json\r' '\004' |
        script -qefc "'$doppler' chat --greedy --max-tokens 5" typescript >/dev/null; code=$?
    expect "keys on a terminal: Ctrl-D leaves" 0
    check "cursor keys, history, deleting" grep -q '^{"messages": \[{"role": "user", "content": "second"}' two.json
    check "lines typed are kept" test "$(head -1 "$XDG_STATE_HOME/doppler/chat_history")" = hello
}

# Text of random tokens on the reference path: goes on for a while, until the context is full.
slow_run="--device cpu-ref --temperature 100 --top-p 1 --min-p 0 --seed 1"

test_interrupt() {
    : >out
    # shellcheck disable=SC2086
    "$doppler" run "$fox" $slow_run >out 2>err </dev/null & pid=$!
    wait_for out; kill -INT $pid; code=0; wait $pid || code=$?
    expect "SIGINT ends a text" 130 err 'interrupted, seed 1' out '.'
    for delay in 0.2 0.1 0.4 0.8; do # nothing shows when generation has begun: it may end, or not have begun, by then
        # shellcheck disable=SC2086
        "$doppler" run "$fox" --json $slow_run >out 2>err </dev/null & pid=$!
        sleep $delay; kill -TERM $pid 2>/dev/null; code=0; wait $pid || code=$?
        [ -s out ] && [ "$code" = 130 ] && break
    done
    expect "SIGTERM ends it too, --json stays whole" 130 out '"stop": "interrupted".*\}$'
    yes "The wind was strong that day." | head -4000 >long.txt
    "$doppler" perplexity "$model" long.txt --device cpu-ref >out 2>err & pid=$!
    wait_ready $pid; kill -INT $pid; code=0; wait $pid || code=$?
    fails "SIGINT ends perplexity" 130 'interrupted'
    mkdir -p stopped
    "$doppler" convert "$model" stopped/new --quantize q6_k --threads 1 >out 2>err & pid=$!
    wait_ready $pid; kill -INT $pid 2>/dev/null; code=0; wait $pid || code=$?
    if [ "$code" = 0 ]; then skip "SIGINT ends convert" "it was done before the signal came"
    else
        expect "SIGINT ends convert" 130
        check "SIGINT ends convert: nothing is left" test -z "$(ls -A stopped)"
    fi
}

# ---- run ----

code=0
: >out; : >err
section help && test_help
section usage && test_usage
section bad_files && test_bad_files
if [ -d "$model" ]; then
    for s in run memory reference tokenize logits perplexity files convert chat terminal bench interrupt; do section $s && test_$s; done
else
    skip "run memory reference tokenize logits perplexity files convert chat terminal bench interrupt" "***** models/storyteller is missing *****"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
