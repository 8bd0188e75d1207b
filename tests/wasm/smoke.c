/* smoke.c: proves that the core runs as WebAssembly, not only compiles. smoke.mjs loads the module and calls smoke(),
 * which returns 0 or the line of the first check that failed. */
#include <math.h>

#include "base/json.h"
#include "host/host.h"
#include "quant/quant.h"

__attribute__((export_name("smoke"))) int smoke(void);

#define NEED(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) return __LINE__;                                                                             \
    } while (0)

static int json_works(void) {
    dp_arena arena = {0};
    dp_buf buf = {0};
    const dp_json *root = NULL;
    NEED(dp_json_parse(&arena, DP_LIT("{\"a\":[1,2.5,\"\\u00e9\"],\"b\":{\"c\":9007199254740993}}"), &root) == DP_OK);
    NEED(dp_json_get(dp_json_get(root, "b"), "c")->integer == 9007199254740993);
    dp_json_put(&buf, root);
    NEED(!buf.failed && strcmp(buf.data, "{\"a\":[1,2.5,\"\xc3\xa9\"],\"b\":{\"c\":9007199254740993}}") == 0);
    NEED(dp_json_parse(&arena, DP_LIT("[1,]"), &root) == DP_E_FORMAT && strstr(dp_error_message(), "line 1"));
    dp_buf_free(&buf);
    dp_arena_free(&arena);
    return 0;
}

/* A row of a smooth curve survives each block format within the step that its bits allow. */
static int quant_works(void) {
    enum { N = 512 };
    static const struct { dp_dtype dtype; float tolerance; } cases[] = {
        {DP_F16, 1e-3f}, {DP_BF16, 8e-3f}, {DP_Q8_0, 1e-2f}, {DP_Q4_K, 0.15f}, {DP_Q5_K, 0.08f}, {DP_Q6_K, 0.05f}};
    float values[N], back[N];
    for (int i = 0; i < N; i++) values[i] = sinf((float)i * 0.1f);
    for (size_t c = 0; c < DP_COUNT(cases); c++) {
        const dp_dtype_info *info = dp_dtype_get(cases[c].dtype);
        void *blocks = dp_malloc(dp_dtype_row_bytes(cases[c].dtype, N));
        NEED(blocks);
        info->quantize(values, blocks, N);
        info->dequantize(blocks, back, N);
        dp_free(blocks);
        for (int i = 0; i < N; i++) NEED(fabsf(values[i] - back[i]) <= cases[c].tolerance);
    }
    return 0;
}

int smoke(void) {
    int line = json_works();
    if (!line) line = quant_works();
    if (!line && dp_host_cpu_count() != 1) line = __LINE__;
    return line;
}
