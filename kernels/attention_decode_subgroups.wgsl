// Computes:  attention_token.wgsl where all subgroups have SUBGROUP invocations, 8 or more: eight of them share a key and keep
//            sums of their own, so that there is no barrier before the end.
// Shapes, bindings, work: there.
// Limits:    none more.
const TEAMS = THREADS / SHARE;     // keys at a time
const ROUND = KEYS / TEAMS;        // keys of a team in a round, fetched at once
const K_OWN = (K_PARTS + SHARE - 1u) / SHARE; // vectors of a key that a thread owns
const V_OWN = (V_PARTS + SHARE - 1u) / SHARE;
const GROUPS = THREADS / SUBGROUP;
var<workgroup> sums: array<array<f32, V_DIM>, GROUPS>;
var<workgroup> totals: array<vec2f, GROUPS>; // weights, and what they are relative to

fn part_of(vector: u32, i: u32, lane: u32) -> u32 { return vector * (K_DIM / 4u) + 2u * min(lane + i * SHARE, K_PARTS - 1u); }
fn owns(i: u32, lane: u32, parts: u32) -> bool { return parts % SHARE == 0u || lane + i * SHARE < parts; }

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let head = at.y * HEADS;
    let kv_head = head / (p.heads / p.kv_heads);
    let range = range_of(at.x);
    if (range.idle) { return; }
    load_vectors(head, kv_head, thread);
    turn(thread);
    if (at.x == 0u && head % (p.heads / p.kv_heads) == 0u) { write_cache(kv_head, thread); }

    let keys = kv_head * p.capacity;
    let values = p.kv_heads * K_PARTS * p.capacity;
    let start = range.begin % p.capacity; // of the ring
    let team = thread / SHARE;
    let lane = thread % SHARE;
    var query = array<vec4f, HEADS * K_OWN * 2u>();
    for (var h = 0u; h < HEADS; h++) {
        for (var i = 0u; i < K_OWN; i++) {
            let keep = select(0.0, 1.0, owns(i, lane, K_PARTS));
            query[(h * K_OWN + i) * 2u] = keep * turned[part_of(h, i, lane)];
            query[(h * K_OWN + i) * 2u + 1u] = keep * turned[part_of(h, i, lane) + 1u];
        }
    }
    var top = array<f32, HEADS>();
    var sum = array<f32, HEADS>();
    var out = array<vec4f, HEADS * V_OWN * 2u>();
    for (var h = 0u; h < HEADS; h++) { // the token's own key and value belong to the first team
        var own = 0.0;
        for (var i = 0u; i < K_OWN; i++) {
            own += dot(query[(h * K_OWN + i) * 2u], turned[part_of(HEADS, i, lane)]) + dot(query[(h * K_OWN + i) * 2u + 1u], turned[part_of(HEADS, i, lane) + 1u]);
        }
        for (var far = SHARE / 2u; far > 0u; far /= 2u) { own += subgroupShuffleXor(own, far); }
        top[h] = select(-1e30, finish(own), at.x == 0u && team == 0u);
        sum[h] = select(0.0, 1.0, at.x == 0u && team == 0u);
    }
    if (at.x == 0u && team == 0u) {
        for (var i = 0u; i < V_OWN; i++) {
            let column = 8u * min(lane + i * SHARE, V_PARTS - 1u);
            let low = vec4f(half_of(own_value(kv_head, column)), half_of(own_value(kv_head, column + 1u)), half_of(own_value(kv_head, column + 2u)), half_of(own_value(kv_head, column + 3u)));
            let high = vec4f(half_of(own_value(kv_head, column + 4u)), half_of(own_value(kv_head, column + 5u)), half_of(own_value(kv_head, column + 6u)), half_of(own_value(kv_head, column + 7u)));
            for (var h = 0u; h < HEADS; h++) {
                out[(h * V_OWN + i) * 2u] = low;
                out[(h * V_OWN + i) * 2u + 1u] = high;
            }
        }
    }
    for (var round = range.begin; round < range.end; round += KEYS) {
        var k_words = array<vec4u, ROUND * K_OWN>();
        var v_words = array<vec4u, ROUND * V_OWN>();
        for (var r = 0u; r < ROUND; r++) {
            let i = start + min(round + r * TEAMS + team, range.end - 1u) - range.begin;
            let place = keys + select(i, i - p.capacity, i >= p.capacity);
            for (var c = 0u; c < K_OWN; c++) { k_words[r * K_OWN + c] = cache[place * K_PARTS + min(lane + c * SHARE, K_PARTS - 1u)]; }
            for (var c = 0u; c < V_OWN; c++) { v_words[r * V_OWN + c] = cache[values + place * V_PARTS + min(lane + c * SHARE, V_PARTS - 1u)]; }
        }
        var score = array<f32, ROUND * HEADS>();
        for (var r = 0u; r < ROUND; r++) {
            for (var c = 0u; c < K_OWN; c++) {
                let low = low_of(k_words[r * K_OWN + c]);
                let high = high_of(k_words[r * K_OWN + c]);
                for (var h = 0u; h < HEADS; h++) {
                    score[r * HEADS + h] += dot(low, query[(h * K_OWN + c) * 2u]) + dot(high, query[(h * K_OWN + c) * 2u + 1u]);
                }
            }
            let valid = round + r * TEAMS + team < range.end;
            for (var h = 0u; h < HEADS; h++) {
                var s = score[r * HEADS + h];
                for (var far = SHARE / 2u; far > 0u; far /= 2u) { s += subgroupShuffleXor(s, far); }
                score[r * HEADS + h] = select(-2e30, finish(s), valid);
            }
        }
        for (var h = 0u; h < HEADS; h++) {
            var now = top[h];
            for (var r = 0u; r < ROUND; r++) { now = max(now, score[r * HEADS + h]); }
            let keep = exp(top[h] - now);
            top[h] = now;
            sum[h] *= keep;
            for (var c = 0u; c < V_OWN * 2u; c++) { out[h * V_OWN * 2u + c] *= keep; }
            for (var r = 0u; r < ROUND; r++) {
                let weight = exp(score[r * HEADS + h] - now);
                score[r * HEADS + h] = weight;
                sum[h] += weight;
            }
        }
        for (var r = 0u; r < ROUND; r++) {
            for (var c = 0u; c < V_OWN; c++) {
                let low = low_of(v_words[r * V_OWN + c]);
                let high = high_of(v_words[r * V_OWN + c]);
                for (var h = 0u; h < HEADS; h++) {
                    let at_out = (h * V_OWN + c) * 2u;
                    out[at_out] = fma(vec4f(score[r * HEADS + h]), low, out[at_out]);
                    out[at_out + 1u] = fma(vec4f(score[r * HEADS + h]), high, out[at_out + 1u]);
                }
            }
        }
    }
    for (var h = 0u; h < HEADS; h++) {
        for (var far = SHARE; far < SUBGROUP; far *= 2u) { // join the teams of a subgroup
            let now = max(top[h], subgroupShuffleXor(top[h], far));
            let keep = exp(top[h] - now);
            top[h] = now;
            sum[h] *= keep;
            sum[h] += subgroupShuffleXor(sum[h], far);
            for (var c = h * V_OWN * 2u; c < (h + 1u) * V_OWN * 2u; c++) {
                out[c] *= keep;
                out[c] += subgroupShuffleXor(out[c], far);
            }
        }
        let group = thread / SUBGROUP;
        if (thread % SUBGROUP < SHARE) {
            for (var i = 0u; i < V_OWN; i++) {
                if (!owns(i, lane, V_PARTS)) { continue; }
                for (var j = 0u; j < 4u; j++) {
                    sums[group][8u * (lane + i * SHARE) + j] = out[(h * V_OWN + i) * 2u][j];
                    sums[group][8u * (lane + i * SHARE) + 4u + j] = out[(h * V_OWN + i) * 2u + 1u][j];
                }
            }
            if (lane == 0u) { totals[group] = vec2f(sum[h], top[h]); }
        }
        workgroupBarrier();
        if (thread < V_DIM) {
            var highest = totals[0].y;
            for (var g = 1u; g < GROUPS; g++) { highest = max(highest, totals[g].y); }
            var value = 0.0;
            var total = 0.0;
            for (var g = 0u; g < GROUPS; g++) {
                let weight = exp(totals[g].y - highest);
                value += weight * sums[g][thread];
                total += weight * totals[g].x;
            }
            emit(head + h, h, at.x, thread, value, total, highest);
        }
        workgroupBarrier();
    }
    pack_result(head, thread);
}
