#!/bin/bash
# Builds and runs the tests in stages; each stage has its own build folder, which the next run reuses.
#   tests/run.sh [STAGE...]     no stage: all of them, in this order
#   release   the default compiler with warnings as errors: unit, ops, golden, command line, examples
#   webgpu    the GPU backend on Vulkan drivers that run on the CPU: lavapipe, and SwiftShader without f16
#   checks    the source text: layers, headers, calls, README (tools/check_source.sh)
#   sanitize  clang, AddressSanitizer with leak detection and UndefinedBehaviorSanitizer: unit, ops, golden, and the GPU device on lavapipe
#   threads   clang, ThreadSanitizer: the unit tests that start threads, paging with its loaders among them
#   clang     the whole tree compiles with clang, warnings as errors
#   wasm      the core links as a WebAssembly module and runs the bundled model and the op tests in Node
#   web       doppler-web in Chromium, with WebGPU on the CPU, and in Firefox; op and golden tests there; the demo page
#   arm64     cross compiled; unit, ops and the bundled model under qemu
#   fuzz      each libFuzzer target for FUZZ_SECONDS (10) from its seeds
# Logs: build/test-logs/STAGE/. The last line printed is "N passed, N failed"; the exit code is 0 if none failed.
set -u
cd "$(dirname "$0")/.."
logs=build/test-logs
jobs=$(nproc 2>/dev/null || echo 2)
limit=${TEST_TIMEOUT:-900} # seconds one test program may take
fuzz_seconds=${FUZZ_SECONDS:-10}
# Minutes under qemu, for code that knows no processor; the arm64 story goes through most of it.
emulation_slow="test_engine|test_tokenizer_golden|test_convert|test_synth|test_jinja|test_gpu_device"
counts=$logs/counts # a line per program: passed failed skipped stage name
export logs limit counts

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# record STAGE NAME PASSED FAILED SKIPPED SECONDS [NOTE]
record() {
    echo "$3 $4 $5 $1 $2" >>"$counts"
    local word="ok  "
    [ "$5" = 0 ] || word="skip"
    [ "$3" = 0 ] || word="ok  "
    [ "$4" = 0 ] || word="FAIL"
    local tally="$3 passed"
    [ "$4" = 0 ] || tally="$tally, $4 failed"
    [ "$5" = 0 ] || tally="$tally, $5 skipped"
    printf '  %s %-34s %-24s %6ss %s\n' "$word" "$2" "$tally" "$6" "${7:-}"
}

# run_one STAGE NAME COMMAND...: runs a test program; its last "N passed, N failed" line counts, together with its exit code.
run_one() {
    local stage=$1 name=$2 log=$logs/$1/$2.log start code line p=0 f=0 s=0 note=""
    shift 2
    mkdir -p "$logs/$stage"
    start=$(now)
    timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
    code=$?
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$log" | tail -1)
    if [ -n "$line" ]; then
        read -r p f s <<<"$(echo "$line" | awk '{print $1, $3, $5 + 0}')"
        [ "$code" = 0 ] || [ "$f" != 0 ] || { f=1; note="exit code $code after its last line"; }
        [ "$((p + f + s))" != 0 ] || { f=1; note="ran no test"; }
    else
        f=1
        note="exit code $code, no result line"
        [ "$code" != 124 ] || note="still running after $limit s"
    fi
    record "$stage" "$name" "$p" "$f" "$s" "$(since "$start")" "$note"
    [ "$s" = 0 ] || grep -a '^SKIP' "$log" | sed 's/^/         /' | head -5
    if [ "$f" != 0 ]; then
        { grep -aE '^FAIL|ERROR: |runtime error|Sanitizer' "$log" || tail -5 "$log"; } | cut -c1-300 | head -12 | sed 's/^/         /'
        echo "         log: $log"
    fi
}
export -f now since record run_one

# run_all STAGE PREFIX NAME...: test programs <build folder>/tests/NAME, as many at a time as there are cores.
run_all() {
    local stage=$1 prefix=$2
    shift 2
    [ $# != 0 ] || return 0
    printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c 'path=$3; name=${path##*/}; run_one "$1" "$name" $2 "$path"' \
        _ "$stage" "$prefix" {}
}

# programs FOLDER KIND...: the executables of tests/KIND/*.c; one that did not build fails when it is run.
programs() {
    local folder=$1 kind source
    shift
    for kind in "$@"; do
        for source in tests/"$kind"/*.c; do
            [ -e "$source" ] && basename "$source" .c | sed "s,^,$folder/tests/,"
        done
    done
}

# build STAGE PRESET TARGET...: configures and builds; every compile error is in the log, the first ones are shown.
build() {
    local stage=$1 preset=$2 log=$logs/$1/build.log start
    shift 2
    mkdir -p "$logs/$stage"
    start=$(now)
    local folder=build-$preset
    [ "$preset" != release ] || folder=build
    if cmake --preset "$preset" >"$log" 2>&1 && ninja -C "$folder" -k 0 "$@" >>"$log" 2>&1; then
        record "$stage" build 1 0 0 "$(since "$start")"
        return 0
    fi
    record "$stage" build 0 1 0 "$(since "$start")" "$*"
    grep -aE 'error|undefined|Error' "$log" | cut -c1-300 | head -20 | sed 's/^/         /'
    echo "         log: $log"
    return 1
}

# has STAGE COMMAND...: false, and recorded, if the machine lacks a tool. That is a skip on a developer's machine and a
# failure where everything must run.
has() {
    local stage=$1 tool
    shift
    for tool in "$@"; do
        command -v "$tool" >/dev/null 2>&1 && continue
        echo "  ***** STAGE '$stage' CANNOT RUN: $tool is not installed (sh tools/setup.sh test) *****"
        if [ -n "${CI:-}" ]; then record "$stage" "needs $tool" 0 1 0 0; else record "$stage" "needs $tool" 0 0 1 0; fi
        return 1
    done
}

# npm_packages FOLDER: what its package.json names, as its lock file has it.
npm_packages() {
    [ -f "$1/package.json" ] || return 0
    has packages npm || return
    local start name=${1//\//-}
    start=$(now)
    mkdir -p "$logs/packages"
    [ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] && return 0
    if npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund >"$logs/packages/$name.log" 2>&1; then
        touch "$1/node_modules/.package-lock.json"
        record packages "$name" 1 0 0 "$(since "$start")"
    else
        record packages "$name" 0 1 0 "$(since "$start")"
        tail -5 "$logs/packages/$name.log" | sed 's/^/         /'
        return 1
    fi
}

stage_checks() { run_one checks check_source bash tools/check_source.sh; }

stage_release() {
    has release cmake ninja || return
    local targets="doppler doppler_tests doppler_examples" script
    ls programs/*.c >/dev/null 2>&1 && targets="$targets doppler_tool"
    # shellcheck disable=SC2086
    build release release $targets
    # shellcheck disable=SC2046
    run_all release "" $(programs build unit ops golden)
    export DOPPLER=$PWD/build/doppler
    for script in tests/cli/*.sh; do
        case ${script##*/} in '*.sh' | lib*.sh | common*.sh) continue ;; esac
        run_one release "$(basename "$script" .sh)" bash "$script"
    done
}

gpu_tests() { basename -s .c -a tests/*/test_gpu*.c; }

# webgpu_driver DRIVER: the GPU tests on one driver. SwiftShader has neither f16 nor a subgroup matrix to mask off, and is slow.
webgpu_driver() {
    local test filter
    for test in $(gpu_tests); do
        filter=""
        case $1/$test in
        swiftshader/test_gpu) filter=on_the_gpu ;;
        swiftshader/test_gpu_tokens) filter=forced ;; # the rest takes minutes
        swiftshader/test_gpu_blocks) filter="experts_masked on_a_program" ;; # it has nothing to mask, and compiles each kernel for seconds
        swiftshader/test_gpu_decode) filter="without_subgroups on_a_program" ;;
        swiftshader/test_gpu_flight) filter=sampled_tokens ;;
        swiftshader/test_gpu_paging) filter=sampled_tokens ;;
        swiftshader/test_gpu_fetch) filter="budget refused" ;;
        swiftshader/test_gpu_misses) filter=both_ways ;; # it fuses nothing, so that the CPU computes nothing
        swiftshader/test_gpu_streaming) filter=drawn_tokens ;;
        swiftshader/test_gpu_sampling) filter=small_vocabularies ;;
        esac
        # shellcheck disable=SC2086
        run_one webgpu "$1-$test" build/webgpu/run "--$1" "build/tests/$test" $filter
    done
}

# Debian's Dawn is of a newer suite, which a mirror may lack: then the stage is skipped, loudly.
stage_webgpu() {
    has webgpu cmake ninja || return
    mkdir -p "$logs/webgpu"
    if ! [ -x build/webgpu/run ] && ! sh tools/setup_webgpu.sh --swiftshader >"$logs/webgpu/setup.log" 2>&1; then
        echo "  ***** STAGE 'webgpu' CANNOT RUN: tools/setup_webgpu.sh failed *****"
        tail -3 "$logs/webgpu/setup.log" | sed 's/^/         /'
        record webgpu setup 0 0 1 0
        return
    fi
    # shellcheck disable=SC2046
    build webgpu release $(gpu_tests) || return
    webgpu_driver swiftshader &
    webgpu_driver lavapipe
    wait
}

# Some sandboxes forbid what leak detection needs; then say so and go on without it.
leak_detection() {
    mkdir -p "$logs/sanitize"
    echo 'int main(void) { return 0; }' >"$logs/sanitize/probe.c"
    clang -fsanitize=address "$logs/sanitize/probe.c" -o "$logs/sanitize/probe" || return 0
    if ASAN_OPTIONS=detect_leaks=1 "$logs/sanitize/probe" >"$logs/sanitize/probe.log" 2>&1; then
        leaks=1
    else
        leaks=0
        echo "  ***** LeakSanitizer cannot run here: leaks are not looked for *****"
        record sanitize leak_detection 0 0 1 0
    fi
}

sanitizer_options() {
    leak_detection
    export ASAN_OPTIONS="detect_leaks=${leaks:-1}:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1"
    export UBSAN_OPTIONS=print_stacktrace=1
}

stage_sanitize() {
    has sanitize cmake ninja clang || return
    build sanitize sanitize doppler_tests
    sanitizer_options
    # shellcheck disable=SC2046
    run_all sanitize "" $(programs build-sanitize unit ops golden)
    if [ -x build/webgpu/run ]; then sanitize_gpu; fi
}

# The GPU's device on lavapipe, and sessions of two threads; what the drivers' loader keeps is no leak of ours.
sanitize_gpu() {
    echo 'leak:ld-linux' >"$logs/sanitize/drivers.supp"
    export LSAN_OPTIONS=suppressions=$PWD/$logs/sanitize/drivers.supp:print_suppressions=0
    run_one sanitize lavapipe-test_gpu_device build/webgpu/run --lavapipe build-sanitize/tests/test_gpu_device
    run_one sanitize lavapipe-test_gpu_sessions build/webgpu/run --lavapipe build-sanitize/tests/test_gpu_sessions two_threads
    unset LSAN_OPTIONS
}

stage_threads() {
    has threads cmake ninja clang || return
    local names prefix="" probe=$logs/threads/probe
    mkdir -p "$logs/threads"
    echo 'int main(void) { return 0; }' >"$probe.c"
    clang -fsanitize=thread "$probe.c" -o "$probe" 2>"$probe.log"
    if ! "$probe" 2>>"$probe.log"; then # too much address space randomisation for this ThreadSanitizer
        prefix="setarch -R"
        if ! $prefix "$probe" 2>>"$probe.log"; then
            echo "  ***** ThreadSanitizer cannot run here: races are not looked for *****"
            record threads thread_sanitizer 0 0 1 0
            return
        fi
    fi
    names=$(grep -lE 'dp_thread_start|dp_pool_new|threads' tests/unit/*.c | xargs -n 1 basename | sed 's/\.c$//')
    # shellcheck disable=SC2086
    build threads threads $names
    export TSAN_OPTIONS=halt_on_error=1
    # shellcheck disable=SC2046
    run_all threads "$prefix" $(printf 'build-threads/tests/%s\n' $names)
}

stage_clang() {
    has clang cmake ninja clang || return
    local targets="doppler doppler_tests doppler_examples"
    ls programs/*.c >/dev/null 2>&1 && targets="$targets doppler_tool"
    # shellcheck disable=SC2086
    build clang clang $targets
}

stage_wasm() {
    has wasm cmake ninja clang-19 wasm-ld-19 node || return
    local script test ops="test_matmul_fast test_attention_fast test_rows_fast"
    # shellcheck disable=SC2086
    build wasm wasm doppler_wasm $ops || return
    for test in $ops; do
        run_one wasm "$test" node --no-warnings tests/support/command.mjs "build-wasm/tests/$test.wasm"
    done
    for script in tests/wasm/*.mjs; do
        run_one wasm "$(basename "$script" .mjs)" node --no-warnings "$script" build-wasm/doppler_tests.wasm
    done
}

# Node 24, with the package `webgpu`: 200 MB; without them node.mjs leaves the GPU out. The package `node`
# brings its program by a script.
node_24() {
    [ -x tests/web/node24/node_modules/node/bin/node ] && return
    mkdir -p "$logs/packages"
    npm ci --prefix tests/web/node24 --no-audit --no-fund >"$logs/packages/node24.log" 2>&1 || echo "  ***** Node 24 could not be installed: the GPU in Node is not tested *****"
}

# Scripts of tests/web, one after the other: each has a browser to itself. programs.mjs lets SwiftShader compile every kernel, which takes
# minutes: beside the others, to which it gives way. speed.mjs has the machine to itself.
stage_web() {
    has web cmake ninja clang-19 wasm-ld-19 node npm chromium firefox-esr || return
    build web release doppler_tool || return
    build web wasm doppler_web doppler_web_tests || return
    npm_packages tests/web || return
    node_24
    build web wasm-relaxed doppler_web_relaxed || return
    local script limit=${TEST_TIMEOUT:-1800}
    export limit
    run_one web programs nice -n 10 node --no-warnings tests/web/programs.mjs &
    for script in tests/web/*.mjs; do
        case $script in */browser.mjs | */programs.mjs | */speed.mjs) continue ;; esac
        run_one web "$(basename "$script" .mjs)" node --no-warnings "$script"
    done
    wait
    run_one web speed node --no-warnings tests/web/speed.mjs
}

stage_arm64() {
    has arm64 cmake ninja aarch64-linux-gnu-gcc qemu-aarch64 || return
    build arm64 arm64 doppler_tests_unit doppler_tests_ops doppler_tool
    # shellcheck disable=SC2046
    run_all arm64 "qemu-aarch64 -cpu max" $(programs build-arm64 unit ops | grep -vE "/($emulation_slow)\$")
    run_one arm64 story bash tests/arm64/story.sh qemu-aarch64 -cpu max build-arm64/doppler
}

# fuzz_one TARGET SECONDS: passes if the target survives.
fuzz_one() {
    local name=$1 seconds=$2 log=$logs/fuzz/$1.log start
    local seeds=tests/fuzz/seeds/${1#fuzz_} corpus=build/fuzz-corpus/$1
    mkdir -p "$logs/fuzz" "$corpus"
    start=$(now)
    [ -d "$seeds" ] || { record fuzz "$name" 0 1 0 0 "no seeds in $seeds"; return; }
    timeout -k 5 $((seconds + 120)) "build-fuzz/fuzz/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -print_final_stats=1 -artifact_prefix="$logs/fuzz/$name-" "$corpus" "$seeds" >"$log" 2>&1 </dev/null
    local code=$? runs
    runs=$(awk '/stat::number_of_executed_units/ {print $2}' "$log")
    if [ "$code" = 0 ]; then
        record fuzz "$name" 1 0 0 "$(since "$start")" "${runs:-?} inputs"
    else
        record fuzz "$name" 0 1 0 "$(since "$start")" "exit code $code"
        { grep -aE 'ERROR: |runtime error|SUMMARY|Test unit written' "$log" || tail -5 "$log"; } | head -8 | sed 's/^/         /'
        echo "         log: $log"
    fi
}
export -f fuzz_one

stage_fuzz() {
    has fuzz cmake ninja clang || return
    ls tests/fuzz/*.c >/dev/null 2>&1 || return 0
    build fuzz fuzz doppler_fuzz
    sanitizer_options
    for source in tests/fuzz/*.c; do basename "$source" .c; done |
        xargs -P "$jobs" -I{} bash -c 'fuzz_one "$1" "$2"' _ {} "$fuzz_seconds"
}

stages=${*:-release webgpu checks sanitize threads clang wasm web arm64 fuzz}
for stage in $stages; do
    declare -F "stage_$stage" >/dev/null || { echo "run.sh: no stage '$stage'" >&2; exit 2; }
done
mkdir -p "$logs"
: >"$counts"
begin=$(now)
sh tools/setup.sh test || echo "***** Not everything could be installed; stages that lack a tool say so. *****"
npm_packages tests # the tokenizer files that text tests read
for stage in $stages; do
    start=$(now)
    echo "== $stage"
    rm -rf "${logs:?}/$stage"
    "stage_$stage"
    echo "   $stage took $(since "$start") s"
done

echo "== result after $(since "$begin") s"
awk '$2 { print "  FAILED " $4 "/" $5 " " $6 } $3 { skipped = skipped "  skipped " $3 " in " $4 "/" $5 " " $6 "\n" } END { printf "%s", skipped }' "$counts"
awk '{ p += $1; f += $2; s += $3 } END { printf "%d skipped\n%d passed, %d failed\n", s, p, f; exit f != 0 || p == 0 }' "$counts"
