/* files.c: see files.h. */
#define _XOPEN_SOURCE 700
#include "files.h"

#include <sys/stat.h>

const char *test_file(const char *name) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

dp_str test_load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return (dp_str){0};
    dp_buf buf = {0};
    char block[1 << 16];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) dp_buf_append(&buf, block, n);
    fclose(file);
    return (dp_str){buf.data, buf.size};
}

void test_write(const char *name, const void *data, size_t size) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    for (char *p = path + strlen(test_folder()) + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        mkdir(path, 0777);
        *p = '/';
    }
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();
}

void test_write_text(const char *name, const char *text) { test_write(name, text, strlen(text)); }

void test_write_safetensors(const char *name, const char *header, size_t data_size) {
    size_t n = strlen(header);
    unsigned char *bytes = malloc(8 + n + data_size);
    if (!bytes) abort();
    dp_store_u64(bytes, n);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < data_size; i++) bytes[8 + n + i] = (unsigned char)i;
    test_write(name, bytes, 8 + n + data_size);
    free(bytes);
}
