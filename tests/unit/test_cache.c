/* Cache policies and the replay of routing traces. LRU is compared with a list kept in order; Belady's rule with the
 * fewest misses that any sequence of evictions has, by trying all of them. */
#include "base/buf.h"
#include "base/hash.h"
#include "files.h"

enum { EXPERTS = 5, STEPS = 40 };

/* A trace of one layer with one expert a step, favouring some; as the file's path. */
static const char *make_trace(uint64_t seed, int *uses) {
    dp_buf text = {0};
    dp_buf_str(&text, "doppler-routing 1\n");
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = dp_splitmix64(seed * 1000 + (uint64_t)i);
        uses[i] = (int)(r % 3 ? (r >> 8) % 2 : (r >> 8) % EXPERTS);
        dp_buf_printf(&text, "0 %d\n", uses[i]);
    }
    test_write("trace.txt", text.data, text.size);
    dp_buf_free(&text);
    return test_file("trace.txt");
}

static int distinct(const int *uses) {
    int most = 0;
    for (int i = 0; i < STEPS; i++) most = uses[i] > most ? uses[i] : most;
    return most + 1;
}

static int lru_hits(const int *uses, int slots) {
    int held[EXPERTS], count = 0, hits = 0; /* latest first */
    for (int i = 0; i < STEPS; i++) {
        int at = 0;
        while (at < count && held[at] != uses[i]) at++;
        hits += at < count;
        if (at == count && count < slots) count++;
        if (at == count) at--;
        memmove(held + 1, held, (size_t)at * sizeof *held);
        held[0] = uses[i];
    }
    return hits;
}

/* The most hits from step i on with the experts of the set `held`. */
static int best_hits(const int *uses, int i, unsigned held, int slots, signed char memo[STEPS][1 << EXPERTS]) {
    if (i == STEPS) return 0;
    if (memo[i][held] >= 0) return memo[i][held];
    unsigned bit = 1u << uses[i];
    int best = 0;
    if (held & bit) {
        best = 1 + best_hits(uses, i + 1, held, slots, memo);
    } else if (__builtin_popcount(held) < slots) {
        best = best_hits(uses, i + 1, held | bit, slots, memo);
    } else {
        for (unsigned out = 1; out < 1u << EXPERTS; out <<= 1)
            if (held & out) best = DP_MAX(best, best_hits(uses, i + 1, (held & ~out) | bit, slots, memo));
    }
    memo[i][held] = (signed char)best;
    return best;
}

TEST(lru_and_belady_do_what_they_say) {
    static signed char memo[STEPS][1 << EXPERTS];
    for (uint64_t seed = 1; seed <= 30; seed++) {
        int uses[STEPS];
        const char *path = make_trace(seed, uses);
        for (int slots = 1; slots <= distinct(uses); slots++) {
            dp_replay_result lru, belady, lrfu;
            memset(memo, -1, sizeof memo);
            CHECK_OK(dp_cache_replay(path, DP_CACHE_LRU, slots, &lru));
            CHECK_OK(dp_cache_replay(path, DP_CACHE_BELADY, slots, &belady));
            CHECK_OK(dp_cache_replay(path, DP_CACHE_LRFU, slots, &lrfu));
            CHECK_MSG((int)lru.hits == lru_hits(uses, slots), "seed %d, %d slots: %d hits, expected %d", (int)seed, slots, (int)lru.hits,
                      lru_hits(uses, slots));
            CHECK((int)belady.hits == best_hits(uses, 0, 0, slots, memo));
            CHECK(lrfu.hits <= belady.hits && lrfu.uses == STEPS && lrfu.steps == STEPS && lrfu.warm_uses == STEPS - STEPS / 10);
        }
    }
}

/* One expert every other step, the others in turn: LRU with two slots drops it, LRFU does not once it knows. */
TEST(lrfu_keeps_a_habit) {
    dp_buf text = {0};
    dp_replay_result lru, lrfu;
    dp_buf_str(&text, "doppler-routing 1\n");
    for (int i = 0; i < 100; i++) dp_buf_printf(&text, "0 0\n0 %d\n0 %d\n", 1 + i % 7, 1 + (i + 3) % 7);
    test_write("habit.txt", text.data, text.size);
    dp_buf_free(&text);
    CHECK_OK(dp_cache_replay(test_file("habit.txt"), DP_CACHE_LRU, 2, &lru));
    CHECK_OK(dp_cache_replay(test_file("habit.txt"), DP_CACHE_LRFU, 2, &lrfu));
    CHECK_MSG(lru.hits < 10 && lrfu.hits >= 95, "%d and %d hits", (int)lru.hits, (int)lrfu.hits);
}

/* Chunks: each expert counts once, layers keep apart. */
TEST(steps_of_many_tokens) {
    dp_replay_result r;
    test_write_text("chunks.txt", "doppler-routing 1\n0 1 2;2 3\n1 1 2;1 2\n0 3 1\n1 5 6\n");
    CHECK_OK(dp_cache_replay(test_file("chunks.txt"), DP_CACHE_LRU, 3, &r));
    CHECK(r.layers == 2 && r.experts == 7 && r.steps == 4 && r.uses == 3 + 2 + 2 + 2 && r.hits == 2);
    CHECK_OK(dp_cache_replay(test_file("chunks.txt"), DP_CACHE_LRU, 1, &r)); /* fewer slots than a step uses */
    CHECK(r.hits <= 1);
}

TEST(bad_traces_name_the_line) {
    dp_replay_result r;
    test_write_text("bad.txt", "routing\n0 1\n");
    CHECK_FAILS(dp_cache_replay(test_file("bad.txt"), DP_CACHE_LRU, 1, &r), DP_E_FORMAT, "bad.txt: expected a first line");
    test_write_text("bad.txt", "doppler-routing 1\n0 1\n0 x\n");
    CHECK_FAILS(dp_cache_replay(test_file("bad.txt"), DP_CACHE_LRU, 1, &r), DP_E_FORMAT, "line 3");
    test_write_text("bad.txt", "doppler-routing 1\n-1 1\n");
    CHECK_FAILS(dp_cache_replay(test_file("bad.txt"), DP_CACHE_LRU, 1, &r), DP_E_FORMAT, "line 2");
    test_write_text("bad.txt", "doppler-routing 1\n0 70000\n");
    CHECK_FAILS(dp_cache_replay(test_file("bad.txt"), DP_CACHE_LRU, 1, &r), DP_E_FORMAT, "line 2");
    test_write_text("bad.txt", "doppler-routing 1\n");
    CHECK_FAILS(dp_cache_replay(test_file("bad.txt"), DP_CACHE_LRU, 1, &r), DP_E_FORMAT, "no step");
    CHECK_FAILS(dp_cache_replay(test_file("bad.txt"), DP_CACHE_LRU, 0, &r), DP_E_ARG, "slots");
    CHECK_FAILS(dp_cache_replay(test_file("none.txt"), DP_CACHE_LRU, 1, &r), DP_E_NOT_FOUND, "none.txt");
}

static dp_status replay(void *user) {
    dp_replay_result r;
    return dp_cache_replay(user, DP_CACHE_BELADY, 2, &r);
}

TEST(replay_with_failing_allocations) {
    int uses[STEPS];
    CHECK(test_failing_allocations(replay, (void *)make_trace(1, uses)) > 5);
}

TEST_MAIN()
