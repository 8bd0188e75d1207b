// Computes:  for one token: RoPE of its query and key, its key and value into the cache, and causal attention of one query
//            head over a share of its keys. SPLITS 1: the result, packed (PACK) or f32; else partial results that
//            attention_merge.wgsl joins.
// Shapes:    q [heads][k_dim], k [kv_heads][k_dim], v [kv_heads][v_dim], frequency [turned / 2]; cache and partial as in
//            kv_write.wgsl and attention.wgsl; dst [heads][v_dim], or packed as pack.wgsl says.
// Bindings:  0 step, 1 q, 2 k, 3 v, 4 cache, 5 frequency, 6 sinks (any buffer when SINKS is false), 7 dst or partial, 8 params;
//            behind pack.wgsl.
// Work:      one workgroup a (split, head): grid (SPLITS, heads). The first head of a KV head's group writes to the cache;
//            nobody reads that place here: the newest key and value are taken from k and v.
// Limits:    k_dim <= 256, v_dim <= 256, multiples of 16.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params {
    heads: u32, kv_heads: u32, k_dim: u32, v_dim: u32,
    capacity: u32, window: u32, scale: f32, softcap: f32,
    turned: u32, rope_scale: f32, pad0: u32, pad1: u32,
}
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> cache: array<vec4u>;
@group(0) @binding(5) var<storage, read> frequency: array<f32>;
@group(0) @binding(6) var<storage, read> sinks: array<f32>;
@group(0) @binding(7) var<storage, read_write> dst: array<u32>;
@group(0) @binding(8) var<uniform> p: Params;
override SINKS: bool = false;
override SPLITS: u32 = 1;
override PACK: bool = false;
override PAIRS: bool = false;
const TILE = 128u; // keys a round, and threads
const SHARE = 8u;  // threads that share a key
var<workgroup> query: array<vec4f, 64>;
var<workgroup> key: array<vec4f, 64>; // the token's own, as the cache rounds it
var<workgroup> part: array<array<f32, 9>, 128>; // one column more than threads that share: other banks
var<workgroup> weight: array<vec4f, 32>;
var<workgroup> sums: array<array<f32, 9>, 128>;

fn half_of(x: f32) -> f32 { return unpack2x16float(pack2x16float(vec2f(x, 0.0))).x; }

fn put(vector: u32, i: u32, value: f32) {
    if (vector == 0u) { query[i / 4u][i % 4u] = value; } else { key[i / 4u][i % 4u] = half_of(value); }
}

// Turns the columns of one head that RoPE covers and copies the others.
fn turn(vector: u32, from_row: u32, thread: u32) {
    let half = p.turned / 2u;
    for (var i = thread; i < half; i += TILE) {
        let angle = f32(step.position) * frequency[i];
        // as in rope.wgsl
        let turns = round(angle * 0.15915494309);
        let reduced = fma(-turns, -1.7484556e-7, fma(-turns, 6.2831855, angle));
        let c = cos(reduced) * p.rope_scale;
        let s = sin(reduced) * p.rope_scale;
        let a = select(i, 2u * i, PAIRS);
        let b = select(i + half, 2u * i + 1u, PAIRS);
        let x = select(q[from_row + a], k[min(from_row + a, p.kv_heads * p.k_dim - 1u)], vector == 1u);
        let y = select(q[from_row + b], k[min(from_row + b, p.kv_heads * p.k_dim - 1u)], vector == 1u);
        put(vector, a, x * c - y * s);
        put(vector, b, y * c + x * s);
    }
    for (var i = p.turned + thread; i < p.k_dim; i += TILE) {
        if (vector == 1u) { put(1u, i, k[from_row + i]); } else { put(0u, i, q[from_row + i]); }
    }
}

fn finish(dot: f32) -> f32 {
    let s = dot * p.scale;
    if (p.softcap > 0.0) { return p.softcap * tanh(clamp(s / p.softcap, -10.0, 10.0)); }
    return s;
}

fn dot_eight(w: vec4u, at: u32) -> f32 {
    let a = vec4f(unpack2x16float(w.x), unpack2x16float(w.y));
    let b = vec4f(unpack2x16float(w.z), unpack2x16float(w.w));
    return dot(a, query[at]) + dot(b, query[at + 1u]);
}

fn write_cache(kv_head: u32, thread: u32) {
    let place = step.position % p.capacity;
    let k_parts = p.k_dim / 8u;
    let v_parts = p.v_dim / 8u;
    if (thread < k_parts) {
        let a = key[2u * thread];
        let b = key[2u * thread + 1u];
        cache[(kv_head * p.capacity + place) * k_parts + thread] =
            vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
    } else if (thread < k_parts + v_parts) {
        let i = thread - k_parts;
        let from_row = kv_head * p.v_dim + 8u * i;
        var words: vec4u;
        for (var j = 0u; j < 4u; j++) { words[j] = pack2x16float(vec2f(v[from_row + 2u * j], v[from_row + 2u * j + 1u])); }
        cache[p.kv_heads * k_parts * p.capacity + (kv_head * p.capacity + place) * v_parts + i] = words;
    }
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let head = at.y;
    let per_kv = p.heads / p.kv_heads;
    let kv_head = head / per_kv;
    turn(0u, head * p.k_dim, thread);
    turn(1u, kv_head * p.k_dim, thread);
    workgroupBarrier();
    if (at.x == 0u && head % per_kv == 0u) { write_cache(kv_head, thread); }

    var first = 0u;
    if (p.window > 0u && step.position >= p.window) { first = step.position - p.window + 1u; }
    let share = (step.position - first + SPLITS - 1u) / SPLITS;
    let begin = first + at.x * share;
    let end = min(begin + share, step.position);
    let k_parts = p.k_dim / 8u;
    let v_parts = p.v_dim / 8u;
    let keys = kv_head * p.capacity;
    let values = p.kv_heads * k_parts * p.capacity;
    let teams = TILE / v_parts; // keys whose values are summed at a time
    let team = thread / v_parts;
    let column = thread % v_parts;

    var top = -1e30;
    var sum = 0.0;
    var low = vec4f(0.0);
    var high = vec4f(0.0);
    if (at.x == 0u) {
        var own = 0.0;
        for (var i = 0u; i < p.k_dim / 4u; i++) { own += dot(query[i], key[i]); }
        top = finish(own);
        sum = 1.0;
        if (team == 0u) {
            for (var j = 0u; j < 4u; j++) {
                low[j] = half_of(v[kv_head * p.v_dim + 8u * column + j]);
                high[j] = half_of(v[kv_head * p.v_dim + 8u * column + 4u + j]);
            }
        }
    }
    for (var tile = begin; tile < end; tile += TILE) {
        for (var round = 0u; round < SHARE; round++) {
            let i = round * (TILE / SHARE) + thread / SHARE;
            let row = (keys + min(tile + i, end - 1u) % p.capacity) * k_parts;
            var s = 0.0;
            for (var c = thread % SHARE; c < k_parts; c += SHARE) { s += dot_eight(cache[row + c], 2u * c); }
            part[i][thread % SHARE] = s;
        }
        workgroupBarrier();
        var mine = 0.0;
        for (var j = 0u; j < SHARE; j++) { mine += part[thread][j]; }
        weight[thread / 4u][thread % 4u] = select(-1e30, finish(mine), tile + thread < end);
        workgroupBarrier();
        var most = vec4f(top);
        for (var j = 0u; j < TILE / 4u; j++) { most = max(most, weight[j]); }
        let new_top = max(max(most.x, most.y), max(most.z, most.w));
        let keep = exp(top - new_top);
        top = new_top;
        let mine_now = select(0.0, exp(weight[thread / 4u][thread % 4u] - top), tile + thread < end);
        workgroupBarrier();
        weight[thread / 4u][thread % 4u] = mine_now;
        workgroupBarrier();
        var added = vec4f(0.0);
        for (var j = 0u; j < TILE / 4u; j++) { added += weight[j]; }
        sum = sum * keep + added.x + added.y + added.z + added.w;
        low *= keep;
        high *= keep;
        if (team < teams) {
            for (var j = team; j < min(TILE, end - tile); j += teams) {
                let w = cache[values + (keys + (tile + j) % p.capacity) * v_parts + column];
                let factor = weight[j / 4u][j % 4u];
                low = fma(vec4f(factor), vec4f(unpack2x16float(w.x), unpack2x16float(w.y)), low);
                high = fma(vec4f(factor), vec4f(unpack2x16float(w.z), unpack2x16float(w.w)), high);
            }
        }
        workgroupBarrier();
    }
    for (var j = 0u; j < 4u; j++) {
        sums[thread][j] = low[j];
        sums[thread][4u + j] = high[j];
    }
    workgroupBarrier();
    var factor = 1.0;
    if (SPLITS == 1u) {
        var total = sum;
        if (SINKS) {
            let sink_top = max(top, sinks[head]);
            factor = exp(top - sink_top);
            total = sum * factor + exp(sinks[head] - sink_top);
        }
        factor /= total;
    }
    for (var i = thread; i < p.v_dim; i += TILE) {
        var value = 0.0;
        for (var t = 0u; t < teams; t++) { value += sums[t * v_parts + i / 8u][i % 8u]; }
        value *= factor;
        if (SPLITS > 1u) { dst[(head * SPLITS + at.x) * (p.v_dim + 2u) + i] = bitcast<u32>(value); }
        else if (PACK) { query[i / 4u][i % 4u] = value; }
        else { dst[head * p.v_dim + i] = bitcast<u32>(value); }
    }
    if (SPLITS > 1u && thread == 0u) {
        let base = (head * SPLITS + at.x) * (p.v_dim + 2u) + p.v_dim;
        dst[base] = bitcast<u32>(top);
        dst[base + 1u] = bitcast<u32>(sum);
    }
    workgroupBarrier();
    if (PACK && thread < p.v_dim / 16u) {
        let g = head * p.v_dim / 16u + thread;
        let group = pack_group(query[4u * thread], query[4u * thread + 1u], query[4u * thread + 2u], query[4u * thread + 3u]);
        let scales = p.heads * p.v_dim / 4u + 2u * g;
        for (var i = 0u; i < 4u; i++) { dst[4u * g + i] = group.bytes[i]; }
        dst[scales] = bitcast<u32>(group.scale);
        dst[scales + 1u] = bitcast<u32>(group.sum);
    }
}
