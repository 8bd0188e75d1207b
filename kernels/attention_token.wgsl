// What the kernels of attention for one token share: attention_decode.wgsl and, with subgroups, attention_decode_subgroups.wgsl.
// Computes:  bias (BIAS), RMSNorm (NORMS) and RoPE of the token's queries and key, its key and value into the cache, and
//            causal attention of HEADS query heads that share a KV head over a share of its keys. SPLITS 1: the result,
//            packed (PACK) or f32; else partial results that attention_decode_merge.wgsl joins.
// Shapes:    q [heads][K_DIM], k [kv_heads][K_DIM], v [kv_heads][V_DIM]; vectors: RoPE's frequencies [turned / 2], sinks
//            [heads] at sinks_at, gains of q and k [2][K_DIM] at gains_at, biases of q, k and v at bias_at; cache as in
//            kv_write.wgsl; packed as pack.wgsl says, or f32 [heads][V_DIM], or f32 [heads][SPLITS][V_DIM + 2] (o, m, l).
// Bindings:  0 step, 1 q, 2 k, 3 v, 4 cache, 5 vectors, 6 packed, 7 params; behind pack.wgsl, pack_store.wgsl, attention_share.wgsl.
// Work:      grid (SPLITS, heads / HEADS). The first workgroup of a KV head writes to the cache; nobody reads that place
//            here: the newest key and value are taken from k and v.
// Limits:    K_DIM and V_DIM multiples of 16 up to 256; HEADS 1, 2, 4 or 8; KEYS (a round) a multiple of 32; THREADS a power of
//            two, at least 64 and V_DIM.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params {
    heads: u32, kv_heads: u32, capacity: u32, window: u32,
    scale: f32, softcap: f32, turned: u32, rope_scale: f32,
    eps: f32, offset: f32, sinks_at: u32, gains_at: u32,
    bias_at: u32, pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> cache: array<vec4u>;
@group(0) @binding(5) var<storage, read> vectors: array<f32>;
@group(0) @binding(6) var<storage, read_write> packed: array<u32>; // or the bits of f32
@group(0) @binding(7) var<uniform> p: Params;
const SHARE = 8u;           // threads that share a key
const K_PARTS = K_DIM / 8u; // vectors of eight halves in a cached key
const V_PARTS = V_DIM / 8u;
var<workgroup> turned: array<vec4f, (HEADS + 1u) * K_DIM / 4u>; // the queries, then the key as the cache rounds it
var<workgroup> squares: array<f32, 16u * (HEADS + 1u)>;
var<workgroup> result: array<vec4f, HEADS * V_DIM / 4u>;

fn half_of(x: f32) -> f32 { return unpack2x16float(pack2x16float(vec2f(x, 0.0))).x; }
fn value_at(i: u32) -> f32 { return turned[i / 4u][i % 4u]; }
fn put(i: u32, value: f32) { turned[i / 4u][i % 4u] = value; }

fn own_value(kv_head: u32, i: u32) -> f32 {
    let at = kv_head * V_DIM + i;
    if (BIAS == 1u) { return v[at] + vectors[p.bias_at + (p.heads + p.kv_heads) * K_DIM + at]; }
    return v[at];
}

fn load_vectors(head: u32, kv_head: u32, thread: u32) {
    for (var i = thread; i < (HEADS + 1u) * K_DIM; i += THREADS) {
        var value = 0.0;
        if (i < HEADS * K_DIM) {
            value = q[head * K_DIM + i];
            if (BIAS == 1u) { value += vectors[p.bias_at + head * K_DIM + i]; }
        } else {
            let at = kv_head * K_DIM + i - HEADS * K_DIM;
            value = k[at];
            if (BIAS == 1u) { value += vectors[p.bias_at + p.heads * K_DIM + at]; }
        }
        put(i, value);
    }
    workgroupBarrier();
    if (NORMS == 1u) {
        if (thread < 16u * (HEADS + 1u)) {
            var square = 0.0;
            for (var i = thread % 16u; i < K_DIM; i += 16u) {
                let x = value_at(thread / 16u * K_DIM + i);
                square += x * x;
            }
            squares[thread] = square;
        }
        workgroupBarrier();
    }
}

fn factor_of(vector: u32) -> f32 {
    if (NORMS == 0u) { return 1.0; }
    var square = 0.0;
    for (var i = 0u; i < 16u; i++) { square += squares[16u * vector + i]; }
    return inverseSqrt(square / f32(K_DIM) + p.eps);
}

fn normed(vector: u32, column: u32, factor: f32) -> f32 {
    let x = value_at(vector * K_DIM + column);
    if (NORMS == 0u) { return x; }
    return x * factor * (vectors[p.gains_at + select(0u, K_DIM, vector == HEADS) + column] + p.offset);
}

// Norm and RoPE, two columns a thread: a pair that is turned, or two of those that RoPE leaves alone.
fn turn(thread: u32) {
    let half = p.turned / 2u;
    for (var i = thread; i < (HEADS + 1u) * K_DIM / 2u; i += THREADS) {
        let vector = i / (K_DIM / 2u);
        let pair = i % (K_DIM / 2u);
        var a = 2u * pair;
        var b = a + 1u;
        var c = 1.0;
        var s = 0.0;
        if (pair < half) {
            if (PAIRS == 0u) {
                a = pair;
                b = pair + half;
            }
            // as in rope.wgsl
            let angle = f32(step.position) * vectors[pair];
            let turns = round(angle * 0.15915494309);
            let reduced = fma(-turns, -1.7484556e-7, fma(-turns, 6.2831855, angle));
            c = cos(reduced) * p.rope_scale;
            s = sin(reduced) * p.rope_scale;
        }
        let factor = factor_of(vector);
        let x = normed(vector, a, factor);
        let y = normed(vector, b, factor);
        let first = x * c - y * s;
        let second = y * c + x * s;
        put(vector * K_DIM + a, select(first, half_of(first), vector == HEADS));
        put(vector * K_DIM + b, select(second, half_of(second), vector == HEADS));
    }
    workgroupBarrier();
}

fn write_cache(kv_head: u32, thread: u32) {
    let place = kv_head * p.capacity + step.position % p.capacity;
    if (thread < K_PARTS) {
        let a = turned[HEADS * K_DIM / 4u + 2u * thread];
        let b = turned[HEADS * K_DIM / 4u + 2u * thread + 1u];
        cache[place * K_PARTS + thread] = vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
    } else if (thread < K_PARTS + V_PARTS) {
        let i = thread - K_PARTS;
        var words = vec4u();
        for (var j = 0u; j < 4u; j++) { words[j] = pack2x16float(vec2f(own_value(kv_head, 8u * i + 2u * j), own_value(kv_head, 8u * i + 2u * j + 1u))); }
        cache[(p.kv_heads * p.capacity * K_PARTS) + place * V_PARTS + i] = words;
    }
}

fn finish(dot: f32) -> f32 {
    let s = dot * p.scale;
    if (p.softcap > 0.0) { return p.softcap * tanh(clamp(s / p.softcap, -10.0, 10.0)); }
    return s;
}

fn low_of(w: vec4u) -> vec4f { return vec4f(unpack2x16float(w.x), unpack2x16float(w.y)); }
fn high_of(w: vec4u) -> vec4f { return vec4f(unpack2x16float(w.z), unpack2x16float(w.w)); }

// The keys of this workgroup: [begin, end).
struct Range { begin: u32, end: u32, idle: bool }

fn range_of(split: u32) -> Range {
    let first = first_key(step.position, p.window);
    let length = step.position - first;
    let splits = splits_of(length);
    let share = (length + splits - 1u) / splits;
    let begin = first + split * share;
    return Range(begin, min(begin + share, step.position), split >= splits);
}

// Column `column` of head `head`, h-th of this workgroup: the sum of values, of weights, and what they are relative to.
fn emit(head: u32, h: u32, split: u32, column: u32, sum: f32, weights: f32, top: f32) {
    if (SPLITS > 1u) {
        let base = (head * SPLITS + split) * (V_DIM + 2u);
        packed[base + column] = bitcast<u32>(sum);
        if (column == 0u) {
            packed[base + V_DIM] = bitcast<u32>(top);
            packed[base + V_DIM + 1u] = bitcast<u32>(weights);
        }
        return;
    }
    var value = sum;
    var total = weights;
    if (SINKS == 1u) {
        let sink = vectors[p.sinks_at + head];
        let highest = max(top, sink);
        value *= exp(top - highest);
        total = total * exp(top - highest) + exp(sink - highest);
    }
    value /= total;
    if (PACK == 1u) { result[(h * V_DIM + column) / 4u][column % 4u] = value; }
    else { packed[head * V_DIM + column] = bitcast<u32>(value); }
}

// Packs what emit has left, behind a barrier.
fn pack_result(head: u32, thread: u32) {
    if (PACK == 0u || thread >= HEADS * V_DIM / 16u) { return; }
    let g = head * V_DIM / 16u + thread;
    store_group(g, p.heads * V_DIM / 16u, result[4u * thread], result[4u * thread + 1u], result[4u * thread + 2u], result[4u * thread + 3u]);
}
