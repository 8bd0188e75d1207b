/* The converter's files: bytes kept, shards and spans, outputs that appear whole or not at all, bad input. That
 * converted models compute the same is tests/golden's part. */
#include "base/json.h"
#include "files.h"
#include "format/checkpoint.h"
#include "refmodel.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

/* "<test_folder()>/<name>" in one of eight rotating buffers. */
static const char *place(const char *name) {
    static char buffers[8][512];
    static int next;
    char *out = buffers[next++ % 8];
    snprintf(out, sizeof buffers[0], "%s/%s", test_folder(), name);
    return out;
}

/* The reference model `name` as a Hugging Face folder, written once. */
static const char *reference(const char *name) {
    const char *folder = place(name);
    if (dp_path_what(folder) == DP_PATH_NONE && refmodel_write(name, "config.json", folder) != DP_OK)
        test_fail(__FILE__, __LINE__, "%s: %s", name, dp_error_message());
    return folder;
}

/* Entries of test_folder() whose name contains `text`. */
static int entries_with(const char *text) {
    dp_buf names = {0};
    int count = 0;
    if (dp_folder_list(test_folder(), &names) != DP_OK) return -1;
    for (const char *p = names.data; p && *p; p += strcspn(p, "\n") + 1) {
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p, "\n"), p);
        count += strstr(name, text) != NULL;
    }
    dp_buf_free(&names);
    return count;
}

static bool same_file(const char *a, const char *b) {
    char *da = NULL, *db = NULL;
    size_t na = 0, nb = 0;
    bool same = dp_file_load(a, 1 << 26, &da, &na) == DP_OK && dp_file_load(b, 1 << 26, &db, &nb) == DP_OK &&
                na == nb && memcmp(da, db, na) == 0;
    dp_free(da);
    dp_free(db);
    return same;
}

/* Every tensor of `from` is in `to` with the same dtype, shape and bytes. */
static bool same_tensors(const dp_checkpoint *from, const dp_checkpoint *to) {
    bool same = from->tensor_count == to->tensor_count;
    for (size_t i = 0; same && i < from->tensor_count; i++) {
        const dp_tensor *a = &from->tensors[i], *b = dp_checkpoint_find(to, a->name);
        if (!b || a->dtype != b->dtype || a->n_dims != b->n_dims || memcmp(a->shape, b->shape, sizeof a->shape) != 0 ||
            a->size != b->size)
            return test_fail(__FILE__, __LINE__, "%s differs or is missing", a->name);
        char *x = dp_malloc((size_t)a->size), *y = dp_malloc((size_t)a->size);
        same = x && y && dp_checkpoint_read(from, a, 0, x, (size_t)a->size) == DP_OK &&
               dp_checkpoint_read(to, b, 0, y, (size_t)a->size) == DP_OK && memcmp(x, y, (size_t)a->size) == 0;
        dp_free(x);
        dp_free(y);
        if (!same) test_fail(__FILE__, __LINE__, "%s: other bytes", a->name);
    }
    return same;
}

static void check_kept(const char *from, const char *to) {
    dp_checkpoint *a = NULL, *b = NULL;
    CHECK_OK(dp_checkpoint_open(from, &a));
    dp_status status = dp_checkpoint_open(to, &b);
    bool same = status == DP_OK && same_tensors(a, b);
    dp_checkpoint_close(a);
    dp_checkpoint_close(b);
    CHECK_MSG(same, "%s -> %s: %s", from, to, dp_error_message());
    CHECK_OK(dp_verify(to, NULL));
}

/* ---- bytes ---- */

TEST(gguf_to_rdrr_and_back_is_the_same_model) {
    static const char *const names[] = {"llama", "qwen3", "mixtral"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        char file[100], rdrr[60], gguf[60];
        snprintf(file, sizeof file, "tests/data/gguf/%s.Q4_K_M.gguf", names[i]);
        snprintf(rdrr, sizeof rdrr, "%s.back", names[i]);
        snprintf(gguf, sizeof gguf, "%s.back.gguf", names[i]);
        CHECK_OK(dp_convert(&(dp_convert_desc){.input = test_path(file), .output.path = place(rdrr)}, NULL));
        CHECK_OK(dp_convert(&(dp_convert_desc){.input = place(rdrr), .output.path = place(gguf)}, NULL));
        check_kept(test_path(file), place(gguf));
    }
}

TEST(every_sharding_keeps_every_tensor) {
    static const struct {
        dp_sharding sharding;
        uint64_t size;
        const char *name;
    } kinds[] = {{DP_SHARD_FIXED, 0, "fixed"},
                 {DP_SHARD_FIXED, 20480, "tiny"},
                 {DP_SHARD_FIXED, 100000, "odd"},
                 {DP_SHARD_LAYER, 65536, "layer"},
                 {DP_SHARD_EXPERT, 65536, "expert"}};
    for (size_t i = 0; i < DP_COUNT(kinds); i++) {
        char name[40];
        dp_convert_result result = {0};
        snprintf(name, sizeof name, "mixtral.%s", kinds[i].name);
        CHECK_OK(dp_convert(&(dp_convert_desc){.input = reference("mixtral"),
                                               .output = {.path = place(name),
                                                          .sharding = kinds[i].sharding,
                                                          .shard_size = kinds[i].size,
                                                          .threads = 2}},
                            &result));
        CHECK(result.tensors == 96 && result.bytes_out >= result.bytes_in && result.shards >= 1);
        check_kept(reference("mixtral"), place(name));
    }
}

TEST(one_shard_is_one_expert) {
    dp_checkpoint *c = NULL;
    CHECK_OK(dp_convert(&(dp_convert_desc){.input = reference("gpt-oss"), .output.path = place("oss.expert")}, NULL));
    CHECK_OK(dp_checkpoint_open(place("oss.expert"), &c));
    size_t experts = 0;
    for (size_t i = 0; i < c->shard_count; i++) experts += strcmp(c->shards[i].type, "expert") == 0;
    const dp_tensor *gate = dp_checkpoint_find(c, "model.layers.2.mlp.experts.5.gate_proj.weight");
    const dp_tensor *bias = dp_checkpoint_find(c, "model.layers.2.mlp.experts.5.down_proj.bias");
    const dp_json *moe = dp_json_find(c->manifest, "moeConfig");
    const dp_json *map = dp_json_find(dp_json_find(moe, "expertShardMap"), "2_5");
    bool right = experts == 4 * 8 && gate && bias && gate->dtype == DP_MXFP4 &&
                 gate->spans[0].file == bias->spans[0].file && map && map->count == 1 &&
                 strcmp(c->shards[map->child->integer].expert_key, "2_5") == 0 && gate->spans[0].offset == 0;
    dp_checkpoint_close(c);
    CHECK(right);
}

/* The row r of gate is row 2r of the stack, of up row 2r + 1; values do not change. */
TEST(gpt_oss_experts_are_taken_apart) {
    dp_checkpoint *hf = NULL, *rdrr = NULL;
    if (dp_path_what(place("oss.expert")) == DP_PATH_NONE)
        CHECK_OK(dp_convert(&(dp_convert_desc){.input = reference("gpt-oss"), .output.path = place("oss.expert")}, NULL));
    CHECK_OK(dp_checkpoint_open(reference("gpt-oss"), &hf));
    CHECK_OK(dp_checkpoint_open(place("oss.expert"), &rdrr));
    const dp_tensor *blocks = dp_checkpoint_find(hf, "model.layers.1.mlp.experts.gate_up_proj_blocks");
    const dp_tensor *scales = dp_checkpoint_find(hf, "model.layers.1.mlp.experts.gate_up_proj_scales");
    const dp_tensor *up = dp_checkpoint_find(rdrr, "model.layers.1.mlp.experts.3.up_proj.weight");
    CHECK(blocks && scales && up && up->shape[0] == 256 && up->shape[1] == 256);
    uint8_t code[128], scale[8], row[8 * 17];
    int64_t stored = 3 * 512 + 2 * 77 + 1; /* expert 3, row 77 of up */
    CHECK_OK(dp_checkpoint_read(hf, blocks, (uint64_t)stored * 128, code, 128));
    CHECK_OK(dp_checkpoint_read(hf, scales, (uint64_t)stored * 8, scale, 8));
    CHECK_OK(dp_checkpoint_read(rdrr, up, 77 * sizeof row, row, sizeof row));
    for (int e = 0; e < 256; e++) {
        int expected = code[e / 2] >> (e % 2 ? 4 : 0) & 15, in = e % 32;
        int found = row[e / 32 * 17 + 1 + in % 16] >> (in / 16 * 4) & 15;
        CHECK_MSG(found == expected && row[e / 32 * 17] == scale[e / 32], "element %d: %d, expected %d", e, found,
                  expected);
    }
    dp_checkpoint_close(hf);
    dp_checkpoint_close(rdrr);
}

/* A tensor of exactly `size` bytes. */
static bool read_whole(const dp_checkpoint *c, const char *prefix, const char *name, void *out, size_t size) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s.weight", prefix, name);
    const dp_tensor *t = dp_checkpoint_find(c, full);
    return t && t->size == size && dp_checkpoint_read(c, t, 0, out, size) == DP_OK;
}

/* kv_b_proj holds, head by head, 64 rows of keys and 64 of values; in GGUF they are apart, those of keys transposed. */
TEST(deepseek_keys_and_values_are_written_apart) {
    enum { HEADS = 4, ROWS = 64, LORA = 64 };
    static uint16_t both[HEADS][2][ROWS][LORA], keys[HEADS][LORA][ROWS], values[HEADS][ROWS][LORA]; /* BF16 */
    static const char attention[] = "model.layers.1.self_attn";
    dp_checkpoint *hf = NULL, *gguf = NULL;
    CHECK_OK(dp_convert(&(dp_convert_desc){.input = reference("deepseek-v3"), .output.path = place("apart.gguf")}, NULL));
    CHECK_OK(dp_checkpoint_open(reference("deepseek-v3"), &hf));
    CHECK_OK(dp_checkpoint_open(place("apart.gguf"), &gguf));
    CHECK(read_whole(hf, attention, "kv_b_proj", both, sizeof both) && !read_whole(gguf, attention, "kv_b_proj", both, sizeof both));
    CHECK(read_whole(gguf, attention, "k_b_proj", keys, sizeof keys) && read_whole(gguf, attention, "v_b_proj", values, sizeof values));
    for (int h = 0; h < HEADS; h++)
        for (int row = 0; row < ROWS; row++)
            for (int i = 0; i < LORA; i++)
                CHECK(keys[h][i][row] == both[h][0][row][i] && values[h][row][i] == both[h][1][row][i]);
    dp_checkpoint_close(hf);
    dp_checkpoint_close(gguf);
}

/* Pair order of row 2i + half of a head <-> row half * d / 2 + i. */
TEST(llama_rows_leave_pair_order) {
    dp_checkpoint *gguf = NULL, *rdrr = NULL;
    const char *file = test_path("tests/data/gguf/llama.Q4_K_M.gguf");
    CHECK_OK(dp_convert(&(dp_convert_desc){.input = file, .output.path = place("llama.rows")}, NULL));
    CHECK_OK(dp_checkpoint_open(file, &gguf));
    CHECK_OK(dp_checkpoint_open(place("llama.rows"), &rdrr));
    const dp_tensor *from = dp_checkpoint_find(gguf, "model.layers.1.self_attn.k_proj.weight");
    const dp_tensor *to = dp_checkpoint_find(rdrr, "model.layers.1.self_attn.k_proj.weight");
    CHECK(from && to && from->shape[0] == 64 && to->dtype == DP_Q4_K);
    for (uint64_t row = 0; row < 64; row++) { /* two heads of 32 */
        uint64_t half = row % 32 / 16, pair = row / 32 * 32 + row % 16 * 2 + half;
        char a[144], b[144];
        CHECK_OK(dp_checkpoint_read(gguf, from, pair * 144, a, 144));
        CHECK_OK(dp_checkpoint_read(rdrr, to, row * 144, b, 144));
        CHECK_MSG(memcmp(a, b, 144) == 0, "row %d", (int)row);
    }
    dp_checkpoint_close(gguf);
    dp_checkpoint_close(rdrr);
}

/* llama.cpp's types for each tensor of this very model (without its quantiser's rounding of the weights). */
TEST(q4_k_m_chooses_the_types_of_llama_quantize) {
    static const char *const names[] = {"llama", "qwen3", "mixtral"};
    for (size_t i = 0; i < DP_COUNT(names); i++) {
        char file[100], out[60];
        dp_checkpoint *theirs = NULL, *ours = NULL;
        snprintf(file, sizeof file, "tests/data/gguf/%s.Q4_K_M.gguf", names[i]);
        snprintf(out, sizeof out, "%s.ours.gguf", names[i]);
        CHECK_OK(dp_convert(
            &(dp_convert_desc){.input = reference(names[i]), .output = {.path = place(out), .quantize = "q4_k_m"}}, NULL));
        CHECK_OK(dp_checkpoint_open(test_path(file), &theirs));
        CHECK_OK(dp_checkpoint_open(place(out), &ours));
        for (size_t k = 0; k < ours->tensor_count; k++) {
            const dp_tensor *a = &ours->tensors[k], *b = dp_checkpoint_find(theirs, a->name);
            CHECK_MSG(b && b->dtype == a->dtype, "%s %s: %s", names[i], a->name, dp_dtype_get(a->dtype)->name);
        }
        dp_checkpoint_close(theirs);
        dp_checkpoint_close(ours);
    }
}

/* ---- outputs ---- */

TEST(the_same_input_gives_the_same_bytes) {
    dp_convert_desc desc = {.input = reference("llama"),
                            .output = {.path = place("one"), .quantize = "q4_k_m", .threads = 1}};
    CHECK_OK(dp_convert(&desc, NULL));
    desc.output.path = place("two");
    desc.output.threads = 3;
    CHECK_OK(dp_convert(&desc, NULL));
    CHECK(same_file(place("one/manifest.json"), place("two/manifest.json")));
    CHECK(same_file(place("one/shard_00000.bin"), place("two/shard_00000.bin")));
}

TEST(an_existing_output_is_replaced_only_on_request) {
    dp_convert_desc desc = {.input = reference("llama"), .output = {.path = place("there"), .quantize = "q8_0"}};
    CHECK_OK(dp_convert(&desc, NULL));
    CHECK_FAILS(dp_convert(&desc, NULL), DP_E_ARG, "already exists");
    desc.output.overwrite = true;
    desc.output.quantize = "f16";
    CHECK_OK(dp_convert(&desc, NULL));
    CHECK_OK(dp_verify(place("there"), NULL));
    CHECK(entries_with("there") == 1);
    desc.output.path = place("there.gguf");
    CHECK_OK(dp_convert(&desc, NULL));
    desc.output.overwrite = false;
    CHECK_FAILS(dp_convert(&desc, NULL), DP_E_ARG, "already exists");
    /* A folder that is no model is never deleted. */
    CHECK_OK(dp_folder_make(place("precious/papers")));
    desc.output.overwrite = true;
    desc.output.path = place("precious");
    CHECK_FAILS(dp_convert(&desc, NULL), DP_E_ARG, "no manifest.json");
    CHECK(dp_path_what(place("precious/papers")) == DP_PATH_FOLDER);
}

static bool stop_half_way(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)what;
    ++*(int *)user;
    return done < total / 2;
}

TEST(cancelling_leaves_nothing) {
    static const char *const outputs[] = {"cancelled", "cancelled.gguf"};
    for (size_t i = 0; i < DP_COUNT(outputs); i++) {
        int calls = 0;
        dp_convert_desc desc = {
            .input = reference("mixtral"),
            .output = {.path = place(outputs[i]), .progress = stop_half_way, .user = &calls}};
        CHECK_FAILS(dp_convert(&desc, NULL), DP_E_CANCELLED, "cancel");
        CHECK(calls > 0 && entries_with("cancelled") == 0);
    }
}

/* Converts to the output that is being written. */
static bool convert_again(void *user, const char *what, uint64_t done, uint64_t total) {
    dp_convert_desc *desc = user;
    (void)what, (void)done, (void)total;
    if (!desc->output.progress) return true;
    desc->output.progress = NULL;
    desc->output.overwrite = true;
    dp_status status = dp_convert(desc, NULL);
    if (status != DP_E_ARG || !strstr(dp_error_message(), "another program is writing it now"))
        test_fail(__FILE__, __LINE__, "%s: %s", dp_status_name(status), dp_error_message());
    return true;
}

TEST(an_output_has_one_writer) {
    static const char *const outputs[] = {"claimed", "claimed.gguf"};
    for (size_t i = 0; i < DP_COUNT(outputs); i++) {
        dp_convert_desc desc = {.input = reference("llama"), .output.path = place(outputs[i])}, again = desc;
        again.output.progress = desc.output.progress = convert_again;
        desc.output.user = &again;
        CHECK_OK(dp_convert(&desc, NULL));
        CHECK(!again.output.progress); /* it was tried */
        CHECK_OK(dp_verify(place(outputs[i]), NULL));
        CHECK(entries_with("claimed") == 1 + (int)i);
    }
}

TEST(what_a_killed_run_left_is_no_model_and_goes) {
    CHECK_OK(dp_folder_make(place(".killed.part")));
    FILE *file = fopen(place(".killed.part/shard_00000.bin"), "w");
    CHECK(file && fputs("half a shard", file) >= 0 && fclose(file) == 0);
    dp_checkpoint *c = NULL;
    CHECK_FAILS(dp_checkpoint_open(place(".killed.part"), &c), DP_E_NOT_FOUND, "no model here");
    CHECK_OK(dp_convert(&(dp_convert_desc){.input = reference("llama"), .output.path = place("killed")}, NULL));
    CHECK(entries_with("killed") == 1);
    /* Killed between moving the old output away and the new one in: the old one comes back. */
    CHECK_OK(dp_path_rename(place("killed"), place(".killed.old")));
    dp_convert_desc desc = {.input = reference("llama"), .output.path = place("killed")};
    CHECK_FAILS(dp_convert(&desc, NULL), DP_E_ARG, "already exists");
    CHECK_OK(dp_verify(place("killed"), NULL));
}

TEST(a_folder_that_cannot_be_written) {
    CHECK_OK(dp_folder_make(place("locked")));
    CHECK(chmod(place("locked"), 0500) == 0);
    if (geteuid() == 0) {
        test_skip("root writes anywhere");
        return;
    }
    CHECK_FAILS(dp_convert(&(dp_convert_desc){.input = reference("llama"), .output.path = place("locked/model")}, NULL),
                DP_E_IO, "locked");
}

/* ---- verify, inspect ---- */

static void add_bad(void *user, const char *file, const char *why) {
    strncat(user, file, 30);
    strcat(user, *why ? " " : " without a reason ");
}

static dp_status verify_again(void *user) { return dp_verify(user, NULL); }

TEST(verify_names_every_bad_shard) {
    char bad[200] = "";
    dp_verify_desc listing = {.on_bad = add_bad, .user = bad};
    dp_convert_desc desc = {.input = reference("mixtral"), .output.path = place("damaged")};
    CHECK_OK(dp_convert(&desc, NULL));
    CHECK(test_failing_allocations(verify_again, (void *)(uintptr_t)place("damaged")) > 10);
    FILE *file = fopen(place("damaged/shard_00003.bin"), "r+b");
    CHECK(file);
    fseek(file, 12345, SEEK_SET);
    int c = fgetc(file);
    fseek(file, 12345, SEEK_SET);
    fputc(c ^ 16, file);
    CHECK(fclose(file) == 0);
    CHECK_FAILS(dp_verify(place("damaged"), &listing), DP_E_CORRUPT, "shard_00003.bin");
    CHECK(strcmp(bad, "shard_00003.bin ") == 0);
    for (int i = 0; i < 2; i++) { /* new hashes would vouch for it */
        desc = (dp_convert_desc){.input = place("damaged"), .output.path = place(i ? "vouched.gguf" : "vouched")};
        CHECK_FAILS(dp_convert(&desc, NULL), DP_E_CORRUPT, "damaged/shard_00003.bin: damaged");
    }
    CHECK(entries_with("vouched") == 0);
    file = fopen(place("damaged/shard_00001.bin"), "wb"); /* nothing left of it */
    CHECK(file && fclose(file) == 0 && remove(place("damaged/shard_00002.bin")) == 0);
    bad[0] = 0;
    CHECK_FAILS(dp_verify(place("damaged"), &listing), DP_E_CORRUPT, "3 of ");
    CHECK(strcmp(bad, "shard_00001.bin shard_00002.bin shard_00003.bin ") == 0);
}

TEST(inspect_is_json_of_every_tensor) {
    char *text = NULL;
    dp_arena arena = {0};
    const dp_json *root = NULL;
    CHECK_OK(dp_inspect(test_path("tests/data/gguf/mixtral.Q4_K_M.gguf"), &text));
    CHECK_OK(dp_json_parse(&arena, dp_str_of(text), &root));
    CHECK(dp_json_find(root, "tensors")->count == 33 && dp_json_find(root, "config"));
    CHECK(dp_str_is(dp_json_find(root, "kind")->string, "gguf"));
    CHECK(dp_json_find(dp_json_find(root, "tokenizer"), "vocabSize")->integer == 512);
    dp_arena_free(&arena);
    dp_free(text);
}

/* ---- bad input ---- */

TEST(arguments_are_checked) {
    const char *input = reference("llama");
    CHECK_FAILS(dp_convert(NULL, NULL), DP_E_ARG, "input");
    CHECK_FAILS(dp_convert(&(dp_convert_desc){.input = input}, NULL), DP_E_ARG, "output");
    CHECK_FAILS(dp_convert(&(dp_convert_desc){.input = place("nowhere"), .output.path = place("unborn")}, NULL),
                DP_E_NOT_FOUND, "nowhere");
    CHECK_FAILS(dp_convert(&(dp_convert_desc){.input = input, .output = {.path = place("unborn"), .quantize = "q17"}}, NULL),
                DP_E_ARG, "q17");
    CHECK_FAILS(
        dp_convert(&(dp_convert_desc){.input = input, .output = {.path = place("unborn"), .sharding = (dp_sharding)9}}, NULL),
        DP_E_ARG, "sharding: expected 0 to 3 (enum dp_sharding), found 9");
    CHECK_FAILS(dp_synth(&(dp_synth_desc){.like = "gemma-3-1b", .layers = 27, .output.path = place("unborn")}, NULL), DP_E_ARG,
                "has 26; expected 1 to 26");
    CHECK_FAILS(dp_synth(&(dp_synth_desc){.like = "gpt-9", .output.path = place("unborn")}, NULL), DP_E_NOT_FOUND,
                "llama-3.2-1b");
    CHECK_FAILS(dp_verify(place("nowhere"), NULL), DP_E_NOT_FOUND, "nowhere");
    CHECK(entries_with("unborn") == 0);
}

/* Stored tensors that no rule turns into experts or heads. */
TEST(malformed_experts_and_heads) {
    static const struct {
        const char *tensor, *shape, *message;
    } bad[] = {{"model.layers.0.mlp.experts.gate_up_proj", "4,8", "cannot be converted"},
               {"model.layers.0.mlp.experts.gate_proj.weight", "32", "stack"},
               {"model.layers.0.mlp.experts.gate_up_proj_bias", "2,5", "even"},
               {"model.layers.0.mlp.experts.gate_up_proj_blocks", "2,2", "scales"}};
    for (size_t i = 0; i < DP_COUNT(bad); i++) {
        char header[300], name[40];
        int64_t rows = 1, cols = 1;
        sscanf(bad[i].shape, "%" SCNd64 ",%" SCNd64, &rows, &cols);
        snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[0,%d]}}",
                 bad[i].tensor, bad[i].shape, (int)(4 * rows * cols));
        snprintf(name, sizeof name, "bad%d/model.safetensors", (int)i);
        test_write_safetensors(name, header, (size_t)(4 * rows * cols));
        snprintf(name, sizeof name, "bad%d/config.json", (int)i);
        test_write_text(name, "{\"model_type\":\"gpt_oss\",\"num_hidden_layers\":1}");
        snprintf(name, sizeof name, "bad%d", (int)i);
        dp_status status = dp_convert(&(dp_convert_desc){.input = place(name), .output.path = place("unborn")}, NULL);
        CHECK_MSG(status != DP_OK && strstr(dp_error_message(), bad[i].message), "%s: %s", bad[i].tensor,
                  dp_error_message());
    }
    CHECK(entries_with("unborn") == 0);
}

/* ---- failing allocations ---- */

static dp_status convert_alone(void *user) {
    dp_convert_desc *desc = user;
    desc->output.threads = 1; /* allocations are counted without locks */
    desc->output.overwrite = true;
    return dp_convert(desc, NULL);
}

TEST(every_allocation_may_fail) {
    dp_convert_desc desc = {.input = reference("llama-tied"), .output = {.path = place("poor"), .quantize = "q4_k_m"}};
    CHECK(test_failing_allocations(convert_alone, &desc) > 50);
    CHECK_OK(dp_verify(place("poor"), NULL));
    desc = (dp_convert_desc){.input = place("poor"), .output.path = place("poor.gguf")};
    CHECK(test_failing_allocations(convert_alone, &desc) > 50);
    CHECK_OK(dp_verify(place("poor.gguf"), NULL));
    desc = (dp_convert_desc){.input = reference("deepseek-v3"), .output.path = place("poor-apart.gguf")};
    CHECK(test_failing_allocations(convert_alone, &desc) > 50);
    CHECK_OK(dp_verify(place("poor-apart.gguf"), NULL));
    CHECK(entries_with("poor") == 3);
}

TEST_MAIN()
