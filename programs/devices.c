/* devices.c: `doppler devices`: what can compute here. The library gives JSON; here it becomes text. */
#include <stdio.h>

#include "base/json.h"
#include "tool.h"

static const option options[] = {
    {"gpu-library", 0, OPTION_TEXT, &set.gpu_library, "FILE", "the WebGPU library (default: the usual names)", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Options", options};

static double number_of(const dp_json *object, const char *key) {
    const dp_json *v = dp_json_get(object, key);
    return v && v->type == DP_JSON_NUMBER ? v->number : 0;
}

static bool flag_of(const dp_json *object, const char *key) {
    const dp_json *v = dp_json_get(object, key);
    return v && v->type == DP_JSON_BOOL && v->boolean;
}

static dp_str text_of(const dp_json *object, const char *key) {
    const dp_json *v = dp_json_get(object, key);
    return v && v->type == DP_JSON_STRING ? v->string : (dp_str){"", 0};
}

static unsigned number_at(const dp_json *object, const char *key, size_t index) {
    const dp_json *v = dp_json_at(dp_json_get(object, key), index);
    return v && v->type == DP_JSON_NUMBER ? (unsigned)v->number : 0;
}

static void print_features(const dp_json *gpu) {
    printf("       features: %s", flag_of(gpu, "f16") ? "f16" : "no f16");
    unsigned least = number_at(gpu, "subgroupSize", 0), most = number_at(gpu, "subgroupSize", 1);
    if (!flag_of(gpu, "subgroups"))
        printf(", no subgroups");
    else if (least == most)
        printf(", subgroups of %u", least);
    else
        printf(", subgroups of %u to %u", least, most);
    if (flag_of(gpu, "subgroupMatrix"))
        printf(", matrix units %ux%ux%u", number_at(gpu, "matrixShape", 0), number_at(gpu, "matrixShape", 1),
               number_at(gpu, "matrixShape", 2));
    printf("%s\n", flag_of(gpu, "timestamps") ? ", timestamps" : "");
}

static void print_gpu(const dp_json *gpu) {
    dp_str name = text_of(gpu, "name"), driver = text_of(gpu, "driver"), api = text_of(gpu, "api");
    double memory = number_of(gpu, "memoryBytes");
    printf("gpu:%.0f  " DP_STR_FMT "%s\n", number_of(gpu, "index"), DP_STR_ARG(name),
           flag_of(gpu, "software") ? " (software)" : "");
    printf("       driver: " DP_STR_FMT ", " DP_STR_FMT "\n", DP_STR_ARG(api), DP_STR_ARG(driver));
    printf("       memory: %s%s\n", memory > 0 ? show_bytes(memory) : "not known",
           flag_of(gpu, "unifiedMemory") ? ", shared with the CPU" : "");
    print_features(gpu);
    printf("       limits: %s in a buffer, %s in a binding, %s and %.0f threads in a workgroup\n",
           show_bytes(number_of(gpu, "bufferBytes")), show_bytes(number_of(gpu, "bindingBytes")),
           show_bytes(number_of(gpu, "workgroupMemoryBytes")), number_of(gpu, "workgroupSize"));
}

static dp_status print_text(const char *json) {
    dp_arena arena = {0};
    const dp_json *root = NULL;
    dp_status status = dp_json_parse(&arena, dp_str_of(json), &root);
    if (status == DP_OK) {
        const dp_json *cpu = dp_json_get(root, "cpu"), *gpus = dp_json_get(root, "gpus");
        dp_str name = text_of(cpu, "name"), why = text_of(root, "gpuError");
        printf(DP_STR_FMT ", memory %s, of which %s can be had now; %s free on disk\n", DP_STR_ARG(name),
               show_bytes(number_of(cpu, "memoryBytes")), show_bytes(number_of(cpu, "memoryAvailableBytes")),
               show_bytes(number_of(cpu, "diskFreeBytes")));
        for (size_t i = 0; dp_json_at(gpus, i); i++) print_gpu(dp_json_at(gpus, i));
        if (!dp_json_at(gpus, 0)) printf("no GPU: only the CPU is available\n       %.*s\n", (int)why.n, why.p);
    }
    dp_arena_free(&arena);
    return status;
}

static dp_status run(char **arguments, int count) {
    char *json;
    (void)arguments, (void)count;
    TRY(dp_devices(set.gpu_library, &json));
    dp_status status = set.json ? stdout_puts(json) : print_text(json);
    dp_free(json);
    return status;
}

const command command_devices = {
    .name = "devices",
    .summary = "list what can compute here: the CPU, and the GPUs that WebGPU finds",
    .arguments = "",
    .details = "GPUs come best first. A software GPU computes on the CPU and is there for tests.\n",
    .examples = "  doppler devices\n"
                "  doppler devices --json\n",
    .least = 0,
    .most = 0,
    .groups = {&own, &output_options},
    .run = run,
};
