/* gguf_file.c: see gguf_file.h. */
#include "gguf_file.h"

static void put_u64(dp_buf *buf, uint64_t v) { dp_buf_append(buf, &v, 8); }
static void put_u32(dp_buf *buf, uint32_t v) { dp_buf_append(buf, &v, 4); }

void gguf_begin(gguf_file *f, const char *architecture) {
    dp_gguf_put_str(&f->kvs, "general.architecture", dp_str_of(architecture));
}

void gguf_add_info(gguf_file *f, const char *name, uint32_t type, const uint64_t *dims, uint32_t n_dims, uint64_t offset) {
    put_u64(&f->infos, strlen(name));
    dp_buf_str(&f->infos, name);
    put_u32(&f->infos, n_dims);
    for (uint32_t d = 0; d < n_dims; d++) put_u64(&f->infos, dims[d]);
    put_u32(&f->infos, type);
    put_u64(&f->infos, offset);
    f->tensors++;
}

void gguf_add_f32(gguf_file *f, const char *name, uint64_t cols, uint64_t rows) {
    gguf_add_info(f, name, 0, (uint64_t[]){cols, rows}, rows ? 2 : 1, f->data.size);
    for (uint64_t i = 0; i < cols * (rows ? rows : 1); i++) {
        float value = (float)i;
        dp_buf_append(&f->data, &value, 4);
    }
    while (f->data.size % 32) dp_buf_char(&f->data, 0);
}

void gguf_write(const char *name, gguf_file *f) {
    dp_buf out = {0};
    dp_buf_str(&out, "GGUF");
    put_u32(&out, 3);
    put_u64(&out, f->tensors);
    put_u64(&out, f->kvs.count);
    dp_buf_append(&out, f->kvs.bytes.data, f->kvs.bytes.size);
    dp_buf_append(&out, f->infos.data, f->infos.size);
    while (out.size % 32) dp_buf_char(&out, 0);
    dp_buf_append(&out, f->data.data, f->data.size);
    test_write(name, out.data, out.size);
    dp_buf_free(&out);
    dp_buf_free(&f->kvs.bytes);
    dp_buf_free(&f->infos);
    dp_buf_free(&f->data);
    *f = (gguf_file){0};
}

dp_checkpoint *gguf_open(const char *path) {
    dp_checkpoint *c = NULL;
    if (dp_checkpoint_open(path, &c) != DP_OK) test_fail(__FILE__, __LINE__, "%s: %s", path, dp_error_message());
    return c;
}

int64_t config_int(const dp_checkpoint *c, const char *key) {
    int64_t value = -999;
    return dp_json_get_int(c->config, key, &value) == DP_OK ? value : -998;
}

double config_number(const dp_json *object, const char *key) {
    double value = -999;
    return dp_json_get_double(object, key, &value) == DP_OK ? value : -998;
}

bool config_is(const dp_checkpoint *c, const char *key, const char *text) {
    const dp_json *m = dp_json_find(c->config, key);
    return m && m->type == DP_JSON_STRING && dp_str_is(m->string, text);
}
