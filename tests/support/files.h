/* files.h: small files for the tests of formats, made below test_folder(). */
#ifndef DP_TEST_FILES_H
#define DP_TEST_FILES_H

#include "test.h"

#include "base/buf.h"

/* "<test_folder()>/<name>" in one of eight rotating static buffers. */
const char *test_file(const char *name);
/* Writes a file below test_folder(), making its folders. Aborts the process if it cannot. */
void test_write(const char *name, const void *data, size_t size);
void test_write_text(const char *name, const char *text);
/* A whole file, to be released with dp_free((void *)p); {NULL, 0} if it cannot be read. */
dp_str test_load(const char *path);
/* A safetensors file: the JSON header and `data_size` bytes with values 0, 1, 2, ... 255, 0, ... */
void test_write_safetensors(const char *name, const char *header, size_t data_size);

#endif
