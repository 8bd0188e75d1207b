/* tiers.c: see tiers.h. The library measures; here its JSON becomes text. */
#include "tiers.h"

#include <stdio.h>

#include "base/json.h"

static double number_of(const dp_json *object, const char *key) {
    const dp_json *v = dp_json_find(object, key);
    return v && v->type == DP_JSON_NUMBER ? v->number : 0;
}

static void print_reads(const dp_json *store, const char *what, const char *p50, const char *p95, const char *rate) {
    printf("%-20s %10.3f ms  95 %% below %.3f ms", what, number_of(store, p50) * 1e3, number_of(store, p95) * 1e3);
    if (rate) printf("  %s/s", show_bytes(number_of(store, rate)));
    putchar('\n');
}

static void print_tiers(const dp_json *root) {
    const dp_json *host = dp_json_find(root, "host"), *store = dp_json_find(root, "store"), *device = dp_json_find(root, "device");
    char what[64];
    printf("host memory          %s, of which %s can be had now\n", show_bytes(number_of(host, "totalBytes")),
           show_bytes(number_of(host, "availableBytes")));
    printf("store                %s free\n", show_bytes(number_of(store, "freeBytes")));
    print_reads(store, "  a read of 4 KiB", "smallReadP50", "smallReadP95", NULL);
    snprintf(what, sizeof what, "  of %s, alone", show_bytes(number_of(store, "readBytes")));
    print_reads(store, what, "readP50", "readP95", "bytesPerSecond");
    snprintf(what, sizeof what, "  %.0f at a time", number_of(store, "readers"));
    print_reads(store, what, "readersP50", "readersP95", "readersBytesPerSecond");
    if (!device || device->type != DP_JSON_OBJECT) return;
    const dp_json *name = dp_json_find(device, "name");
    printf("device               " DP_STR_FMT ", %s\n", DP_STR_ARG(name->string), show_bytes(number_of(device, "memoryBytes")));
    printf("  upload             %10.3f ms there and back  %s/s\n", number_of(device, "roundTripSeconds") * 1e3,
           show_bytes(number_of(device, "uploadBytesPerSecond")));
}

dp_status tiers_report(const char *model) {
    dp_engine_desc desc;
    dp_arena arena = {0};
    const dp_json *root = NULL;
    char *json;
    TRY(setup_engine(&desc));
    TRY(dp_measure_tiers(&desc, model, &json));
    dp_status status = set.json ? stdout_puts(json) : dp_json_parse(&arena, dp_str_of(json), &root);
    if (status == DP_OK && !set.json) print_tiers(root);
    dp_arena_free(&arena);
    dp_free(json);
    return status;
}
