/* Sampling: each filter keeps what it should, draws follow the distribution, seeds repeat. */
#include "test.h"

#include "engine/sampling.h"

enum { VOCAB = 8, DRAWS = 20000 };
static const float logits[VOCAB] = {1.0f, 3.0f, 2.0f, -1.0f, 3.0f, 0.0f, -5.0f, 2.5f};

static bool draw_many(dp_sampling s, const int32_t *recent, size_t recent_count, int counts[VOCAB]) {
    dp_sampler *sampler;
    if (dp_sampler_new(&s, VOCAB, &sampler) != DP_OK) return false;
    memset(counts, 0, VOCAB * sizeof counts[0]);
    for (int i = 0; i < DRAWS; i++) counts[dp_sampler_draw(sampler, logits, recent, recent_count)]++;
    dp_sampler_free(sampler);
    return true;
}

/* Every count within five standard deviations of its probability. */
static bool follows(const int counts[VOCAB], const double p[VOCAB]) {
    for (int i = 0; i < VOCAB; i++) {
        double slack = 5 * sqrt(DRAWS * p[i] * (1 - p[i])) + 1e-9;
        if (fabs(counts[i] - DRAWS * p[i]) > slack) return test_fail(__FILE__, __LINE__, "id %d: drawn %d times, expected %.0f", i, counts[i], DRAWS * p[i]);
    }
    return true;
}

/* softmax(logits / temperature) over the ids in `kept`. */
static void expected(double temperature, const bool kept[VOCAB], double p[VOCAB]) {
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += p[i] = kept[i] ? exp(logits[i] / temperature) : 0;
    for (int i = 0; i < VOCAB; i++) p[i] /= sum;
}

TEST(greedy_takes_the_first_of_equals) {
    int counts[VOCAB];
    CHECK(draw_many((dp_sampling){0}, NULL, 0, counts) && counts[1] == DRAWS);
}

TEST(temperature_scales) {
    const bool all[VOCAB] = {1, 1, 1, 1, 1, 1, 1, 1};
    int counts[VOCAB];
    double p[VOCAB];
    for (float t = 0.5f; t <= 2; t *= 2) {
        CHECK(draw_many((dp_sampling){.temperature = t, .seed = 7}, NULL, 0, counts));
        expected(t, all, p);
        CHECK(follows(counts, p));
    }
}

TEST(top_k_keeps_k) {
    const bool kept[VOCAB] = {0, 1, 0, 0, 1, 0, 0, 1};
    int counts[VOCAB];
    double p[VOCAB];
    CHECK(draw_many((dp_sampling){.temperature = 1, .top_k = 3}, NULL, 0, counts));
    expected(1, kept, p);
    CHECK(follows(counts, p));
}

TEST(top_p_keeps_the_smallest_set_that_reaches_it) {
    /* softmax: 1 and 4 hold 0.324 each, 7 0.197, 2 0.119: 0.8 needs three, 0.85 needs four */
    const bool three[VOCAB] = {0, 1, 0, 0, 1, 0, 0, 1}, four[VOCAB] = {0, 1, 1, 0, 1, 0, 0, 1};
    int counts[VOCAB];
    double p[VOCAB];
    CHECK(draw_many((dp_sampling){.temperature = 1, .top_p = 0.8f}, NULL, 0, counts));
    expected(1, three, p);
    CHECK(follows(counts, p));
    CHECK(draw_many((dp_sampling){.temperature = 1, .top_p = 0.85f}, NULL, 0, counts));
    expected(1, four, p);
    CHECK(follows(counts, p));
    /* of the top 4 alone, 0.8 is reached by three again; of the top 2, by both */
    CHECK(draw_many((dp_sampling){.temperature = 1, .top_p = 0.8f, .top_k = 4}, NULL, 0, counts));
    expected(1, three, p);
    CHECK(follows(counts, p));
}

TEST(min_p_is_relative_to_the_best) {
    const bool kept[VOCAB] = {0, 1, 1, 0, 1, 0, 0, 1}; /* e^-1 = 0.37 of the best, then e^-2 = 0.14 */
    int counts[VOCAB];
    double p[VOCAB];
    CHECK(draw_many((dp_sampling){.temperature = 1, .min_p = 0.2f}, NULL, 0, counts));
    expected(1, kept, p);
    CHECK(follows(counts, p));
}

TEST(repetition_penalty_counts_each_id_once_within_its_window) {
    const int32_t recent[] = {2, 1, 1, 4, 4};
    int counts[VOCAB];
    /* 1 and 4 fall from 3 to 1.5, so 7 (2.5) leads; with a window of two only 4 falls */
    CHECK(draw_many((dp_sampling){.repetition_penalty = 2}, recent, 5, counts) && counts[7] == DRAWS);
    CHECK(draw_many((dp_sampling){.repetition_penalty = 2, .repeat_last = 2}, recent, 5, counts) && counts[1] == DRAWS);
}

TEST(same_seed_same_draws) {
    int32_t drawn[2][100];
    for (int run = 0; run < 2; run++) {
        dp_sampler *sampler;
        CHECK_OK(dp_sampler_new(&(dp_sampling){.temperature = 1.5f, .seed = 42}, VOCAB, &sampler));
        for (int i = 0; i < 100; i++) drawn[run][i] = dp_sampler_draw(sampler, logits, NULL, 0);
        dp_sampler_free(sampler);
    }
    CHECK(memcmp(drawn[0], drawn[1], sizeof drawn[0]) == 0);
}

TEST(bad_settings_are_refused) {
    static const dp_sampling bad[] = {{.temperature = -1}, {.temperature = NAN}, {.top_k = -1}, {.top_p = 1.5f}, {.min_p = -0.1f}, {.repetition_penalty = -2}};
    for (size_t i = 0; i < DP_COUNT(bad); i++) {
        dp_sampler *sampler;
        CHECK_FAILS(dp_sampler_new(&bad[i], VOCAB, &sampler), DP_E_ARG, "sampling");
    }
}

TEST_MAIN()
