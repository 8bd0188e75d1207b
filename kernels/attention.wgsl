// Computes:  causal attention of one query head over a share of its keys, with an online softmax; several shares (SPLITS
//            workgroups) leave partial results that attention_merge.wgsl joins.
// Shapes:    q [tokens][heads][k_dim], dst [tokens][heads][v_dim]; partial [tokens][heads][SPLITS][v_dim + 2]; the cache as
//            in kv_write.wgsl.
// Bindings:  0 step, 1 q, 2 cache, 3 sinks (any buffer when SINKS is false), 4 dst or partial, 5 params; behind
//            attention_params.wgsl.
// Work:      one workgroup a (split, head, token): grid (SPLITS, heads, tokens). THREADS: few where barriers are slow.
// Limits:    k_dim <= 2 * PAIRS, v_dim <= 2 * COLUMNS * THREADS, both even; COLUMNS <= 8, THREADS a power of two <= 64.
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> q: array<vec2f>;
@group(0) @binding(2) var<storage, read> cache: array<u32>;
@group(0) @binding(3) var<storage, read> sinks: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
override SINKS: bool = false;
override SPLITS: u32 = 1;
override EXACT: bool = false; // the cache is f32
override PAIRS: u32 = 512;    // of columns of a query
override THREADS: u32 = 64;
override COLUMNS: u32 = 8; // pairs of output columns a thread owns
const TILE = 64u;          // keys a round
var<workgroup> query: array<vec2f, PAIRS>;
var<workgroup> score: array<f32, 64>;
var<workgroup> reduced: array<f32, THREADS>;

fn most(value: f32, thread: u32) -> f32 {
    reduced[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) { reduced[thread] = max(reduced[thread], reduced[thread + half]); }
        workgroupBarrier();
    }
    let result = reduced[0];
    workgroupBarrier();
    return result;
}

fn cached(pair: u32) -> vec2f {
    if (EXACT) { return vec2f(bitcast<f32>(cache[2u * pair]), bitcast<f32>(cache[2u * pair + 1u])); }
    return unpack2x16float(cache[pair]);
}

fn score_of(key: u32, kv_head: u32) -> f32 {
    let row = (kv_head * p.capacity + key % p.capacity) * p.k_words;
    var sum = 0.0;
    for (var i = 0u; i < p.k_words; i++) { sum += dot(query[i], cached(row + i)); }
    sum *= p.scale;
    if (p.softcap > 0.0) { sum = p.softcap * tanh(clamp(sum / p.softcap, -10.0, 10.0)); }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let head = at.y;
    let kv_head = head / (p.heads / p.kv_heads);
    let position = step.position + at.z;
    let row = at.z * p.heads + head;
    for (var i = thread; i < p.k_words; i += THREADS) { query[i] = q[row * p.k_words + i]; }
    workgroupBarrier();

    var first = 0u;
    if (p.window > 0u && position >= p.window) { first = position - p.window + 1u; }
    let keys = position + 1u - first;
    let share = (keys + SPLITS - 1u) / SPLITS;
    let begin = first + at.x * share;
    let end = min(begin + share, position + 1u);

    var out: array<vec2f, 8>;
    var top = -1e30;
    var sum = 0.0;
    let out_words = p.v_dim / 2u;
    let latent = p.v_words == 0u;
    let stride = select(p.v_words, p.k_words, latent);
    let values = select((p.kv_heads * p.k_words + kv_head * p.v_words) * p.capacity, kv_head * p.capacity * p.k_words, latent);
    for (var tile = begin; tile < end; tile += TILE) {
        let n = min(TILE, end - tile);
        var mine = top;
        for (var j = thread; j < n; j += THREADS) {
            let value = score_of(tile + j, kv_head);
            score[j] = value;
            mine = max(mine, value);
        }
        let new_top = most(mine, thread);
        for (var j = thread; j < n; j += THREADS) { score[j] = exp(score[j] - new_top); }
        workgroupBarrier();
        let keep = exp(top - new_top);
        top = new_top;
        sum *= keep;
        for (var c = 0u; c < COLUMNS; c++) { out[c] *= keep; }
        for (var j = 0u; j < n; j++) {
            let weight = score[j];
            sum += weight;
            let value = values + (tile + j) % p.capacity * stride;
            for (var c = 0u; c < COLUMNS; c++) {
                let word = thread + c * THREADS;
                if (word < out_words) { out[c] += weight * cached(value + word); }
            }
        }
        workgroupBarrier();
    }
    if (SPLITS > 1u) {
        let base = (row * SPLITS + at.x) * (p.v_dim + 2u);
        for (var c = 0u; c < COLUMNS; c++) {
            let word = thread + c * THREADS;
            if (word < out_words) {
                dst[base + 2u * word] = out[c].x;
                dst[base + 2u * word + 1u] = out[c].y;
            }
        }
        if (thread == 0u) {
            dst[base + p.v_dim] = top;
            dst[base + p.v_dim + 1u] = sum;
        }
        return;
    }
    var total = sum;
    var factor = 1.0;
    if (SINKS) {
        let sink_top = max(top, sinks[head]);
        factor = exp(top - sink_top);
        total = sum * factor + exp(sinks[head] - sink_top);
    }
    for (var c = 0u; c < COLUMNS; c++) {
        let word = thread + c * THREADS;
        if (word < out_words) {
            let value = out[c] * (factor / total);
            dst[row * p.v_dim + 2u * word] = value.x;
            dst[row * p.v_dim + 2u * word + 1u] = value.y;
        }
    }
}
