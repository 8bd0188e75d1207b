// Computes:  causal attention of 32 tokens of one head at a time, with an online softmax over tiles of 64 keys.
// Shapes:    q [tokens][heads][k_dim], dst [tokens][heads][v_dim]; the cache as in kv_write.wgsl.
// Bindings:  0 step, 1 q, 2 cache, 3 sinks (any buffer when SINKS is 0), 4 dst, 5 params; behind
//            attention_params.wgsl.
// Work:      one workgroup a (32 tokens, head): grid (tokens / 32, heads). For the scores a thread owns 4 x 4 of the 32 x 64;
//            for the softmax four threads share a token; for the values LANES threads share ROWS tokens, each with GROUPS
//            groups of four columns.
// Limits:    k_dim and v_dim multiples of 4; 16 KiB of workgroup memory. LANES (16 or 32) and GROUPS, LANES * GROUPS * 4 >=
//            v_dim, are put in front with SINKS and EXACT.
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> cache: array<vec2u>; // four columns of f16, or two of f32 (EXACT)
@group(0) @binding(3) var<storage, read> sinks: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<vec4f>;
@group(0) @binding(5) var<uniform> p: Params;
const TOKENS = 32u;
const KEYS = 64u;
const THREADS = 128u;
const ROWS = LANES / 4u;
const STRIDE = 17u; // vec4f of a token's 64 scores, and one against bank conflicts
const MASKED = -1e30;
// [column group][token or key]: neighbouring threads read neighbouring rows; key 4 i + j stands at 16 j + i.
var<workgroup> qs: array<array<vec4f, 32>, 4>;
var<workgroup> ks: array<array<vec4f, 64>, 4>;
var<workgroup> scores: array<vec4f, 544>;
var<workgroup> reduced: array<f32, 128>;
var<workgroup> factor: array<f32, 32>;
var<workgroup> place: array<u32, 64>; // of the tile's keys in the cache

fn four(at: u32) -> vec4f {
    if (EXACT == 1u) { return vec4f(bitcast<vec2f>(cache[2u * at]), bitcast<vec2f>(cache[2u * at + 1u])); }
    return vec4f(unpack2x16float(cache[at].x), unpack2x16float(cache[at].y));
}

// Sixteen columns of the block's tokens and the tile's keys, from column group d on.
fn load_columns(thread: u32, d: u32, first: u32, kv_head: u32, head: u32) {
    let groups = p.k_words / 2u;
    for (var i = thread; i < TOKENS * 4u; i += THREADS) {
        let t = first + i / 4u;
        var x = vec4f(0.0);
        if (t < step.count && d + i % 4u < groups) { x = q[(t * p.heads + head) * groups + d + i % 4u]; }
        qs[i % 4u][i / 4u] = x;
    }
    for (var i = thread; i < KEYS * 4u; i += THREADS) {
        let key = i / 4u;
        var x = vec4f(0.0);
        if (d + i % 4u < groups) { x = four((kv_head * p.capacity + place[key]) * groups + d + i % 4u); }
        ks[i % 4u][key % 4u * 16u + key / 4u] = x;
    }
}

fn finished(sums: vec4f, position: u32, key: u32, end: u32) -> vec4f {
    var s = sums * p.scale;
    if (p.softcap > 0.0) { s = p.softcap * tanh(clamp(s / p.softcap, vec4f(-10.0), vec4f(10.0))); }
    let keys = vec4u(key) + vec4u(0u, 1u, 2u, 3u);
    var seen = keys <= vec4u(position);
    if (p.window > 0u) { seen = seen & (keys + p.window > vec4u(position)); }
    return select(vec4f(MASKED), s, seen);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let head = at.y;
    let kv_head = head / (p.heads / p.kv_heads);
    let first = at.x * TOKENS;
    let position = step.position + first;
    let end = step.position + min(first + TOKENS, step.count);
    var begin = 0u;
    if (p.window > 0u && position >= p.window) { begin = position - p.window + 1u; }
    let latent = p.v_words == 0u;
    let stride = select(p.v_words, p.k_words, latent) / 2u;
    let values = select((p.kv_heads * p.k_words + kv_head * p.v_words) * p.capacity, kv_head * p.capacity * p.k_words, latent) / 2u;
    let tx = thread % 16u;
    let ty = thread / 16u;
    let token = thread / 4u; // whose softmax this thread shares
    let lane = thread % LANES;
    let row = thread / LANES * ROWS;
    var top = MASKED;
    var sum = 0.0;
    var out: array<array<vec4f, GROUPS>, ROWS>;
    for (var tile = begin; tile < end; tile += KEYS) {
        if (thread < KEYS) { place[thread] = min(tile + thread, end - 1u) % p.capacity; }
        var s = array<vec4f, 4>(); // spelt out: Dawn was seen to clear a plain `var s` once, not each time round
        for (var d = 0u; d < p.k_words / 2u; d += 4u) {
            workgroupBarrier();
            load_columns(thread, d, first, kv_head, head);
            workgroupBarrier();
            for (var j = 0u; j < 4u; j++) {
                let k0 = ks[j][tx];
                let k1 = ks[j][tx + 16u];
                let k2 = ks[j][tx + 32u];
                let k3 = ks[j][tx + 48u];
                for (var a = 0u; a < 4u; a++) {
                    let x = qs[j][ty + 8u * a];
                    s[a] += vec4f(dot(x, k0), dot(x, k1), dot(x, k2), dot(x, k3));
                }
            }
        }
        for (var a = 0u; a < 4u; a++) {
            scores[(ty + 8u * a) * STRIDE + tx] = finished(s[a], position + ty + 8u * a, tile + 4u * tx, end);
        }
        workgroupBarrier();

        var most = vec4f(MASKED);
        for (var i = 0u; i < 4u; i++) { most = max(most, scores[token * STRIDE + thread % 4u * 4u + i]); }
        reduced[thread] = max(max(most.x, most.y), max(most.z, most.w));
        workgroupBarrier();
        let base = token * 4u;
        let new_top = max(top, max(max(reduced[base], reduced[base + 1u]), max(reduced[base + 2u], reduced[base + 3u])));
        let keep = exp(top - new_top);
        top = new_top;
        sum *= keep;
        for (var i = 0u; i < 4u; i++) {
            let own = token * STRIDE + thread % 4u * 4u + i;
            let score = scores[own];
            let weight = select(exp(score - new_top), vec4f(0.0), score <= vec4f(MASKED));
            scores[own] = weight;
            sum += weight.x + weight.y + weight.z + weight.w;
        }
        if (thread % 4u == 0u) { factor[token] = keep; }
        workgroupBarrier();

        for (var r = 0u; r < ROWS; r++) {
            for (var g = 0u; g < GROUPS; g++) { out[r][g] *= factor[row + r]; }
        }
        for (var j = 0u; j < KEYS / 4u; j++) {
            for (var g = 0u; g < GROUPS; g++) {
                let column = min(lane + g * LANES, p.v_dim / 4u - 1u);
                let v0 = four(values + place[4u * j] * stride + column);
                let v1 = four(values + place[4u * j + 1u] * stride + column);
                let v2 = four(values + place[4u * j + 2u] * stride + column);
                let v3 = four(values + place[4u * j + 3u] * stride + column);
                for (var r = 0u; r < ROWS; r++) {
                    let w = scores[(row + r) * STRIDE + j];
                    out[r][g] += w.x * v0 + w.y * v1 + w.z * v2 + w.w * v3;
                }
            }
        }
        workgroupBarrier();
    }
    reduced[thread] = sum;
    workgroupBarrier();
    if (thread % 4u == 0u) {
        let total = reduced[thread] + reduced[thread + 1u] + reduced[thread + 2u] + reduced[thread + 3u];
        factor[token] = 1.0 / total;
        if (SINKS == 1u) {
            let sink_top = max(top, sinks[head]);
            let scale = exp(top - sink_top);
            factor[token] = scale / (total * scale + exp(sinks[head] - sink_top));
        }
    }
    workgroupBarrier();
    for (var r = 0u; r < ROWS; r++) {
        let t = first + row + r;
        for (var g = 0u; g < GROUPS; g++) {
            let column = lane + g * LANES;
            if (t < step.count && column < p.v_dim / 4u) { dst[(t * p.heads + head) * (p.v_dim / 4u) + column] = out[r][g] * factor[row + r]; }
        }
    }
}
