/* convert.c: `doppler convert` and `doppler synth`: both make a model and say what was made. */
#include <stdio.h>

#include "base/json_write.h"
#include "host/host.h"
#include "progress.h"
#include "tool.h"

static const char *name, *like;
static uint64_t seed;
static int32_t layers;
static bool list;
static dp_output_desc output;
static int sharding; /* output.sharding, as options store a choice */

#define QUANTIZE_WORDS "keep|q4_k_m|q5_k_m|q8_0|q6_k|f16|bf16|mxfp4"

static const option convert_options[] = {
    {"quantize", 'z', OPTION_TEXT, &output.quantize, QUANTIZE_WORDS, "weight format of the output (default: keep)", 0, 0},
    {"name", 0, OPTION_TEXT, &name, "ID", "name of the model (default: from the input)", 0, 0},
    OPTIONS_END,
};
static const option synth_options[] = {
    {"like", 0, OPTION_TEXT, &like, "MODEL", "the published model whose shapes to copy (--list names them)", 0, 0},
    {"list", 0, OPTION_FLAG, &list, NULL, "list the known shapes and end", 0, 0},
    {"quantize", 'z', OPTION_TEXT, &output.quantize, QUANTIZE_WORDS, "weight format (default: q4_k_m; mxfp4 for gpt-oss)", 0,
     0},
    {"layers", 0, OPTION_INT, &layers, "N", "only the first N layers, for machines with less memory (default: all)", 1, 1000},
    {"seed", 's', OPTION_SEED, &seed, "N", "of the random weights (default: 0)", 0, 0},
    OPTIONS_END,
};
static const option making_options[] = {
    {"sharding", 0, OPTION_CHOICE, &sharding, "auto|fixed|layer|expert",
     "what a shard holds (default: auto, which is expert for mixtures of experts, else fixed)", 0, 0},
    {"shard-size", 0, OPTION_SIZE, &output.shard_size, "SIZE", "of fixed shards (default: 64M)", 0, 0},
    {"threads", 't', OPTION_INT, &output.threads, "N", "threads (default: one per available core)", 1, 1024},
    {"overwrite", 'f', OPTION_FLAG, &output.overwrite, NULL, "replace OUT if it exists", 0, 0},
    OPTIONS_END,
};
static const option_group convert_own = {"Options", convert_options};
static const option_group synth_own = {"Options", synth_options};
static const option_group making = {"Making", making_options};

/* Refuses before minutes of work what the library would refuse, and names the option. */
static dp_status check_output(const char *path) {
    dp_path_kind what = dp_path_what(path);
    if (output.overwrite || what == DP_PATH_NONE || what == DP_PATH_HIDDEN) return DP_OK; /* the library says why it is hidden */
    return dp_fail(DP_E_ARG, "%s exists; choose another name or pass --overwrite", path);
}

static dp_status report(const dp_convert_result *r, double seconds) {
    if (!set.json) {
        note("%s: %llu tensors, %llu shard%s, %s, made in %s (%s/s)", output.path, (unsigned long long)r->tensors,
             (unsigned long long)r->shards, r->shards == 1 ? "" : "s", show_bytes((double)r->bytes_out),
             show_duration(seconds), show_bytes(seconds > 0 ? (double)r->bytes_out / seconds : 0));
        return DP_OK;
    }
    dp_buf out = {0};
    dp_json_open(&out, NULL, '{');
    dp_json_add_text(&out, "output", output.path);
    dp_json_add_uint(&out, "tensors", r->tensors);
    dp_json_add_uint(&out, "shards", r->shards);
    dp_json_add_uint(&out, "bytes_in", r->bytes_in);
    dp_json_add_uint(&out, "bytes_out", r->bytes_out);
    dp_json_add_double(&out, "seconds", seconds);
    dp_json_add_uint(&out, "peak_memory_bytes", dp_host_memory_peak());
    dp_json_close(&out, '}');
    return stdout_print(&out);
}

static dp_status convert_model(const char *input, dp_convert_result *result) {
    return dp_convert(&(dp_convert_desc){.input = input, .name = name, .output = output}, result);
}

static dp_status synthesise_model(const char *shapes, dp_convert_result *result) {
    return dp_synth(&(dp_synth_desc){.like = shapes, .seed = seed, .layers = layers, .output = output}, result);
}

/* Makes the model at `path` from `input`, as the options say, showing how far it has come, and reports what it is. */
static dp_status make(const char *path, const char *input, dp_status (*make_model)(const char *, dp_convert_result *)) {
    progress bar = {0};
    dp_convert_result result = {0};
    double start = dp_host_seconds();
    TRY(check_output(path));
    output.path = path;
    output.sharding = (dp_sharding)sharding;
    output.progress = progress_update;
    output.user = &bar;
    dp_status status = make_model(input, &result);
    progress_end(&bar);
    TRY(status);
    return report(&result, dp_host_seconds() - start);
}

static dp_status run_convert(char **arguments, int count) {
    (void)count;
    return make(arguments[1], arguments[0], convert_model);
}

static void print_shapes(void) {
    for (size_t i = 0; dp_synth_name(i); i++) printf("%s\n", dp_synth_name(i));
}

/* DP_OK if dp_synth knows the shape; otherwise an error with all it knows. */
static dp_status check_like(void) {
    dp_buf known = {0};
    for (size_t i = 0; dp_synth_name(i); i++) {
        if (like && strcmp(like, dp_synth_name(i)) == 0) {
            dp_buf_free(&known);
            return DP_OK;
        }
        dp_buf_printf(&known, "%s%s", i ? ", " : "", dp_synth_name(i));
    }
    dp_status status = dp_fail(DP_E_ARG, "--like: expected one of %s; found %s", known.data ? known.data : "nothing",
                               like ? like : "nothing");
    dp_buf_free(&known);
    return status;
}

static dp_status run_synth(char **arguments, int count) {
    if (list) {
        print_shapes();
        return DP_OK;
    }
    TRY(check_like());
    if (count < 1) return dp_fail(DP_E_ARG, "missing argument; usage: doppler synth --like MODEL OUT");
    return make(arguments[0], like, synthesise_model);
}

const command command_convert = {
    .name = "convert",
    .summary = "turn a model into RDRR or GGUF, quantised on the way",
    .arguments = "IN OUT",
    .details = "IN is a Hugging Face folder, a .gguf file or an RDRR folder. OUT becomes an RDRR folder, or one GGUF\n"
               "file if its name ends in .gguf. It appears when it is complete; Ctrl-C leaves nothing behind.\n",
    .examples = "  doppler convert checkpoint/ model/ --quantize q4_k_m\n"
                "  doppler convert model.gguf model/ --sharding expert\n"
                "  doppler convert model/ model.gguf\n",
    .least = 2,
    .most = 2,
    .groups = {&convert_own, &making, &output_options},
    .run = run_convert,
};

const command command_synth = {
    .name = "synth",
    .summary = "make a model of published shapes with random weights, for benchmarks",
    .arguments = "--like MODEL OUT",
    .details = "OUT becomes an RDRR folder, or one GGUF file if its name ends in .gguf. The text such a model writes\n"
               "is noise, its speed that of the real one.\n",
    .examples = "  doppler synth --list\n"
                "  doppler synth --like llama-3.2-1b llama-1b.gguf\n"
                "  doppler synth --like qwen3-30b-a3b --quantize q4_k_m qwen3-moe/\n",
    .most = 1,
    .groups = {&synth_own, &making, &output_options},
    .run = run_synth,
};
