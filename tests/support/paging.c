/* paging.c: see paging.h. */
#include "paging.h"

#include "files.h"
#include "host/host.h"
#include "refmodel.h"

void paging_ids(int32_t *ids) {
    for (int i = 0; i < PAGING_TOKENS; i++) ids[i] = 3 + (i * 37 + i / 7) % 500;
}

dp_engine *paging_gpu(const dp_engine_desc *how) {
    dp_engine_desc desc = how ? *how : (dp_engine_desc){0};
    dp_engine *engine = NULL;
    desc.backend = DP_BACKEND_GPU;
    test_opened(dp_engine_open(&desc, &engine));
    return engine;
}

bool paging_fetches(const dp_engine *engine) {
    bool can = engine && engine->backend->api->reads_host(engine->backend);
    if (engine && !can) test_skip("%s reads no host memory", dp_engine_describe(engine));
    return can;
}

uint64_t paging_on_device(const dp_engine *engine) {
    dp_device_memory m;
    dp_engine_memory(engine, &m);
    return m.weights + m.kv + m.activations;
}

dp_status rig_open(rig *r, dp_engine *engine, const char *path, const dp_model_desc *desc, int32_t batch) {
    TRY(dp_model_open(engine, path, desc, &r->model));
    r->vocab = (size_t)dp_model_get_info(r->model)->vocab;
    return dp_session_new(r->model, &(dp_session_desc){.context = PAGING_CONTEXT, .batch = batch}, &r->session);
}

void rig_close(rig *r) {
    dp_session_free(r->session);
    dp_model_close(r->model);
    dp_engine_close(r->engine);
    *r = (rig){0};
}

dp_status rig_run(rig *r, float *logits) {
    int32_t ids[PAGING_TOKENS];
    paging_ids(ids);
    dp_session_truncate(r->session, 0);
    return dp_session_eval(r->session, ids, PAGING_TOKENS, logits);
}

void rig_check_damaged(rig *bad, rig *mirrored, dp_status status, const char *text, const float *expected, float *found) {
    CHECK_FAILS(rig_run(bad, found), status, "layer 0, expert ");
    CHECK_MSG(strstr(dp_error_message(), "shard_000") && strstr(dp_error_message(), text), "%s", dp_error_message());
    CHECK_FAILS(rig_run(bad, found), status, text); /* and again, no worse */
    CHECK_OK(rig_run(mirrored, found));
    CHECK(memcmp(found, expected, PAGING_TOKENS * mirrored->vocab * sizeof(float)) == 0);
}

const char *paging_folder(const char *name) {
    const char *folder = test_file(name);
    if (dp_path_what(folder) != DP_PATH_FOLDER && (refmodel_write(name, "config.json", folder) || refmodel_add_tokenizer(folder))) return NULL;
    return folder;
}

dp_status paging_convert(const char *name, const char *ending, const char *quantize, dp_sharding sharding, char out[400]) {
    snprintf(out, 400, "%s%s", paging_folder(name), ending);
    dp_output_desc output = {
        .path = out, .quantize = quantize, .sharding = sharding, .shard_size = 1 << 16, .overwrite = true};
    return dp_convert(&(dp_convert_desc){.input = paging_folder(name), .output = output}, NULL);
}

const char *paging_copy(const char *name) {
    dp_buf names = {0};
    char from[1200], to[1200];
    if (dp_folder_list(test_path("models/storyteller"), &names) != DP_OK) return NULL;
    for (char *p = strtok(names.data, "\n"); p; p = strtok(NULL, "\n")) {
        snprintf(from, sizeof from, "%s/%s", test_path("models/storyteller"), p);
        snprintf(to, sizeof to, "%s/%s", name, p);
        dp_str bytes = test_load(from);
        test_write(to, bytes.p, bytes.n);
        dp_free((void *)bytes.p);
    }
    dp_buf_free(&names);
    return test_file(name);
}

void paging_damage(const char *folder, bool truncate) {
    for (int shard = 1; shard <= 48; shard++) {
        char path[1200];
        snprintf(path, sizeof path, "%s/shard_%05d.bin", folder, shard);
        dp_str bytes = test_load(path);
        FILE *file = fopen(path, truncate ? "wb" : "r+b");
        if (!file || !bytes.p) abort();
        if (truncate) fwrite(bytes.p, 1, bytes.n / 2, file);
        else fseek(file, 5000, SEEK_SET), fputc(bytes.p[5000] ^ 1, file);
        fclose(file);
        dp_free((void *)bytes.p);
    }
}

static dp_status sick_read(void *user, int32_t source, int32_t file, uint64_t offset, void *data, size_t size) {
    sick_disk *disk = user;
    const dp_checkpoint *c = disk->pages->units.checkpoint;
    (void)source;
    if (atomic_fetch_sub(&disk->countdown, 1) == 0) return dp_fail(DP_E_IO, "%s: cannot read: Input/output error", c->file_names[file]);
    return dp_file_read(c->files[file], offset, data, size);
}

void sick_disk_install(sick_disk *disk, dp_model *model) {
    disk->pages = model->residency.pages;
    disk->pages->units.read_user = disk;
    disk->pages->units.read = sick_read;
}

void rig_check_sick(rig *r, sick_disk *disk, int reads, float *found) {
    sick_disk_install(disk, r->model);
    atomic_init(&disk->countdown, reads);
    CHECK_FAILS(rig_run(r, found), DP_E_IO, "Input/output error");
    CHECK_MSG(strstr(dp_error_message(), "layer ") && strstr(dp_error_message(), "expert "), "%s", dp_error_message());
    atomic_store(&disk->countdown, -1);
    CHECK_OK(rig_run(r, found));
}
