/* cache_replay.c: `doppler cache-replay`: hit rates of cache policies on recorded routing, side by side. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json_write.h"
#include "tool.h"

enum { LIST_MAX = 64 };

static const char *policy_list = "lru,lrfu,belady", *slot_list;

static const option options[] = {
    {"policy", 0, OPTION_TEXT, &policy_list, "NAME,...", "lru, lrfu, belady (default: all three)", 0, 0},
    {"slots", 0, OPTION_TEXT, &slot_list, "N,...",
     "experts of a layer in memory (default: 1, 2, 3, ... up to all, at most 16 numbers)", 0, 0},
    OPTIONS_END,
};
static const option_group own = {"Options", options};

typedef struct job {
    const char *trace;
    dp_cache_policy policies[3];
    size_t policy_count;
    int32_t slots[LIST_MAX];
    size_t slot_count;
    dp_replay_result results[LIST_MAX][3];
} job;

static const char *const names[] = {"lrfu", "lru", "belady"}; /* dp_cache_policy */

static dp_status parse_policies(job *j) {
    for (const char *p = policy_list; *p;) {
        size_t n = strcspn(p, ","), i = 0;
        while (i < DP_COUNT(names) && !dp_str_is((dp_str){p, n}, names[i])) i++;
        if (i == DP_COUNT(names) || j->policy_count == DP_COUNT(j->policies))
            return dp_fail(DP_E_ARG, "--policy: expected lru, lrfu and belady apart by commas, found \"%s\"", policy_list);
        j->policies[j->policy_count++] = (dp_cache_policy)i;
        p += n + (p[n] == ',');
    }
    return j->policy_count ? DP_OK : dp_fail(DP_E_ARG, "--policy: expected at least one");
}

static dp_status parse_slots(job *j) {
    for (const char *p = slot_list; p && *p;) {
        char *end;
        long n = strtol(p, &end, 10);
        if (end == p || n < 1 || n > 65536 || (*end && *end != ',') || j->slot_count == LIST_MAX)
            return dp_fail(DP_E_ARG, "--slots: expected at most %d numbers from 1 on apart by commas, found \"%s\"", LIST_MAX, slot_list);
        j->slots[j->slot_count++] = (int32_t)n;
        p = *end ? end + 1 : end;
    }
    if (j->slot_count) return DP_OK;
    enum { LINES = 16 };
    dp_replay_result all;
    TRY(dp_cache_replay(j->trace, DP_CACHE_LRU, 1, &all));
    int32_t lines = DP_MIN(all.experts, LINES);
    for (int32_t i = 1; i <= lines; i++) j->slots[j->slot_count++] = (int32_t)((int64_t)all.experts * i / lines);
    return DP_OK;
}

static double share(uint64_t part, uint64_t whole) { return whole ? (double)part / (double)whole : 0; }

static void print_table(const job *j) {
    const dp_replay_result *any = &j->results[0][0];
    printf("%llu steps of %d layers, %d experts; hits of all uses, and of those after the first tenth\n%6s %9s",
           (unsigned long long)any->steps, (int)any->layers, (int)any->experts, "slots", "resident");
    for (size_t p = 0; p < j->policy_count; p++) printf("  %16s", names[j->policies[p]]);
    for (size_t s = 0; s < j->slot_count; s++) {
        printf("\n%6d %7.1f %%", (int)j->slots[s], 100 * DP_MIN(1, (double)j->slots[s] / any->experts));
        for (size_t p = 0; p < j->policy_count; p++) {
            const dp_replay_result *r = &j->results[s][p];
            printf("  %6.2f %% %6.2f %%", 100 * share(r->hits, r->uses), 100 * share(r->warm_hits, r->warm_uses));
        }
    }
    putchar('\n');
}

static dp_status print_json(const job *j) {
    const dp_replay_result *any = &j->results[0][0];
    dp_buf out = {0};
    dp_json_open(&out, NULL, '{');
    dp_json_add_uint(&out, "steps", any->steps);
    dp_json_add_int(&out, "layers", any->layers);
    dp_json_add_int(&out, "experts", any->experts);
    dp_json_add_uint(&out, "uses", any->uses);
    dp_json_open(&out, "results", '[');
    for (size_t s = 0; s < j->slot_count; s++)
        for (size_t p = 0; p < j->policy_count; p++) {
            const dp_replay_result *r = &j->results[s][p];
            dp_json_open(&out, NULL, '{');
            dp_json_add_text(&out, "policy", names[j->policies[p]]);
            dp_json_add_int(&out, "slots", j->slots[s]);
            dp_json_add_uint(&out, "hits", r->hits);
            dp_json_add_double(&out, "hit_rate", share(r->hits, r->uses));
            dp_json_add_double(&out, "warm_hit_rate", share(r->warm_hits, r->warm_uses));
            dp_json_close(&out, '}');
        }
    dp_json_close(&out, ']');
    dp_json_close(&out, '}');
    return stdout_print(&out);
}

static dp_status run(char **arguments, int count) {
    (void)count;
    static job j;
    j.trace = arguments[0];
    TRY(parse_policies(&j));
    TRY(parse_slots(&j));
    for (size_t s = 0; s < j.slot_count; s++)
        for (size_t p = 0; p < j.policy_count; p++) {
            if (interrupted()) return interrupted_status();
            TRY(dp_cache_replay(j.trace, j.policies[p], j.slots[s], &j.results[s][p]));
        }
    if (set.json) return print_json(&j);
    print_table(&j);
    return DP_OK;
}

const command command_cache_replay = {
    .name = "cache-replay",
    .summary = "compare cache policies on recorded routing",
    .arguments = "TRACE",
    .details = "TRACE was written by --record-routing. Each policy keeps so many experts of a layer; a step that uses an\n"
               "expert it has is a hit. belady evicts what is needed last: no policy that cannot see ahead does better.\n",
    .examples = "  doppler run --record-routing trace.txt \"Tell me a story about a brave fox.\"\n"
                "  doppler cache-replay trace.txt\n"
                "  doppler cache-replay trace.txt --policy lru,belady --slots 2,4,8 --json\n",
    .least = 1,
    .most = 1,
    .groups = {&own, &output_options},
    .run = run,
};
