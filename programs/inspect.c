/* inspect.c: `doppler inspect`: what a checkpoint says of itself. The library gives JSON; here it becomes text: members
 * as lines, lists of objects as tables. Of the members' meaning it knows only which are sizes. */
#include <stdio.h>

#include "base/json.h"
#include "tool.h"

enum { ROWS_SHOWN = 12, COLUMNS_MAX = 12, CELL_MAX = 64 };

static bool all;

static const option options[] = {
    {"all", 'a', OPTION_FLAG, &all, NULL, "show long lists whole", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Options", options};

/* ---- values ---- */

/* Not vocab_size and the like, which count something else. */
static bool is_size(dp_str key) {
    return dp_str_is(key, "size") || dp_str_is(key, "totalSize") || dp_str_ends(key, "bytes") ||
           dp_str_ends(key, "Bytes");
}

/* A value in one line; large objects and lists only by their number of members. */
static void put_value(dp_buf *out, const dp_json *v, dp_str key) {
    if (v->type == DP_JSON_STRING) {
        dp_buf_append(out, v->string.p, v->string.n);
    } else if (v->type == DP_JSON_NUMBER && is_size(key) && v->number >= 1000) {
        dp_buf_str(out, show_bytes(v->number));
    } else if (v->type == DP_JSON_NUMBER && dp_str_is(key, "parameters")) {
        dp_buf_str(out, show_count(v->number));
    } else if (v->type == DP_JSON_OBJECT && v->count > 4) {
        dp_buf_printf(out, "{%u members}", (unsigned)v->count);
    } else if (v->type == DP_JSON_ARRAY && v->count > 8) {
        dp_buf_printf(out, "[%u values]", (unsigned)v->count);
    } else {
        dp_json_put(out, v);
    }
}

/* Cuts what has just been appended from `start` to a cell's width, and keeps it in one line. */
static void tidy(dp_buf *out, size_t start, size_t width) {
    for (size_t i = start; i < out->size; i++)
        if ((unsigned char)out->data[i] < ' ' || out->data[i] == 127) out->data[i] = ' ';
    if (out->size - start <= width) return;
    out->size = start + width - 3;
    while (out->size > start && ((unsigned char)out->data[out->size] & 0xC0) == 0x80) out->size--;
    dp_buf_str(out, "...");
}

/* ---- tables ---- */

typedef struct table {
    dp_str columns[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
    bool right[COLUMNS_MAX]; /* numbers */
    size_t count;
} table;

static const dp_json *member(const dp_json *row, dp_str key) {
    for (const dp_json *m = row->child; m; m = m->next)
        if (dp_str_eq(m->key, key)) return m;
    return NULL;
}

static void widen(table *t, const dp_json *m, dp_buf *scratch) {
    size_t c = 0;
    while (c < t->count && !dp_str_eq(t->columns[c], m->key)) c++;
    if (c == COLUMNS_MAX) return;
    if (c == t->count) {
        t->columns[c] = m->key;
        t->widths[c] = m->key.n;
        t->right[c] = m->type == DP_JSON_NUMBER;
        t->count++;
    }
    dp_buf_clear(scratch);
    put_value(scratch, m, m->key);
    t->widths[c] = DP_MAX(t->widths[c], DP_MIN(scratch->size, (size_t)CELL_MAX));
}

static void put_cell(dp_buf *out, const table *t, size_t c, dp_str text) {
    size_t pad = t->widths[c] > text.n ? t->widths[c] - text.n : 0;
    if (t->right[c]) dp_buf_printf(out, "%*s", (int)pad, "");
    dp_buf_append(out, text.p, text.n);
    if (!t->right[c] && c + 1 < t->count) dp_buf_printf(out, "%*s", (int)pad, "");
    if (c + 1 < t->count) dp_buf_str(out, "  ");
}

static void put_row(dp_buf *out, const table *t, const dp_json *row, dp_buf *scratch) {
    dp_buf_str(out, "  ");
    for (size_t c = 0; c < t->count; c++) {
        const dp_json *m = member(row, t->columns[c]);
        dp_buf_clear(scratch);
        dp_buf_str(scratch, "");
        if (m) put_value(scratch, m, m->key);
        tidy(scratch, 0, CELL_MAX);
        put_cell(out, t, c, (dp_str){scratch->data ? scratch->data : "", scratch->size});
    }
    dp_buf_char(out, '\n');
}

static void put_table(dp_buf *out, const dp_json *list) {
    table t = {0};
    dp_buf scratch = {0};
    size_t shown = 0;
    for (const dp_json *row = list->child; row; row = row->next)
        for (const dp_json *m = row->type == DP_JSON_OBJECT ? row->child : NULL; m; m = m->next) widen(&t, m, &scratch);
    dp_buf_str(out, "  ");
    for (size_t c = 0; c < t.count; c++) put_cell(out, &t, c, t.columns[c]);
    dp_buf_char(out, '\n');
    for (const dp_json *row = list->child; row; row = row->next) {
        if (row->type != DP_JSON_OBJECT || (!all && shown == ROWS_SHOWN)) continue;
        put_row(out, &t, row, &scratch);
        shown++;
    }
    if (shown < list->count)
        dp_buf_printf(out, "  ... and %u more; --all shows them\n", (unsigned)(list->count - shown));
    dp_buf_free(&scratch);
}

/* ---- the whole ---- */

static bool is_table(const dp_json *v) {
    return v->type == DP_JSON_ARRAY && v->child && v->child->type == DP_JSON_OBJECT;
}

static void put_object(dp_buf *out, const dp_json *object, int indent) {
    size_t width = 0;
    for (const dp_json *m = object->child; m; m = m->next)
        if (!is_table(m) && m->type != DP_JSON_OBJECT) width = DP_MAX(width, DP_MIN(m->key.n, (size_t)32));
    for (const dp_json *m = object->child; m; m = m->next) {
        if (is_table(m)) {
            dp_buf_printf(out, "\n" DP_STR_FMT " (%u)\n", DP_STR_ARG(m->key), (unsigned)m->count);
            put_table(out, m);
        } else if (m->type == DP_JSON_OBJECT && m->count && indent == 0) {
            dp_buf_printf(out, "\n" DP_STR_FMT "\n", DP_STR_ARG(m->key));
            put_object(out, m, 2);
        } else {
            dp_buf_printf(out, "%*s%-*.*s  ", indent, "", (int)width, (int)DP_MIN(m->key.n, (size_t)200), m->key.p);
            size_t start = out->size;
            put_value(out, m, m->key);
            if (!out->failed) tidy(out, start, 120);
            dp_buf_char(out, '\n');
        }
    }
}

static dp_status print_text(const char *json) {
    dp_arena arena = {0};
    dp_buf out = {0};
    const dp_json *root = NULL;
    dp_status status = dp_json_parse(&arena, dp_str_of(json), &root);
    if (status == DP_OK) {
        put_object(&out, root, 0);
        status = out.failed ? dp_no_memory(out.size) : stdout_write(out.data ? out.data : "", out.size);
    }
    dp_buf_free(&out);
    dp_arena_free(&arena);
    return status;
}

static dp_status run(char **arguments, int count) {
    char *json;
    (void)count;
    TRY(dp_inspect(arguments[0], &json));
    dp_status status = set.json ? stdout_puts(json) : print_text(json);
    dp_free(json);
    return status;
}

const command command_inspect = {
    .name = "inspect",
    .summary = "show configuration, tensors, shards and tokenizer of a model",
    .arguments = "MODEL",
    .details = "Reads headers only, so it is quick at any size.\n",
    .examples = "  doppler inspect model.gguf\n"
                "  doppler inspect model/ --all\n"
                "  doppler inspect checkpoint/ --json\n",
    .least = 1,
    .most = 1,
    .groups = {&own, &output_options},
    .run = run,
};
