/* cpu_kv.h: the KV half of the CPU's backend table; see graph/backend.h for the contracts. */
#ifndef DP_CPU_KV_H
#define DP_CPU_KV_H

#include "cpu/cpu.h"

dp_status dp_cpu_kv_new(dp_backend *backend, const dp_program *program, const dp_kv_size *size, dp_kv **out);
uint64_t dp_cpu_kv_bytes(const dp_program *program, const dp_kv_size *size); /* when it is full */
void dp_cpu_kv_free(dp_kv *kv);
dp_status dp_cpu_kv_reserve(dp_kv *kv, int32_t from, int32_t to);
int32_t dp_cpu_kv_truncate(dp_kv *kv, int32_t length);

#endif
