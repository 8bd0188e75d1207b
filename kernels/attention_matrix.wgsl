// Computes:  causal attention of 4 MATRIX tokens of one head at a time on the matrix units: f16 products, f32 sums. Scores are
//            computed twice, first for each token's largest, so that sums over values need never be scaled anew.
// Shapes:    q [tokens][heads][D], dst alike; the cache as in kv_write.wgsl, f16, keys and values of D columns.
// Bindings:  0 step, 1 q, 2 cache, 3 sinks (any buffer when SINKS is 0), 4 dst, 5 params; behind attention_params.wgsl.
// Work:      one workgroup a (4 MATRIX tokens, head), a subgroup MATRIX of the tokens; 2 MATRIX keys at a time. Grid (tokens /
//            (4 MATRIX), heads).
// Limits:    D = FRAGS * MATRIX, FRAGS 1 to 16; 24 KiB of workgroup memory up to D = 128, 32 at 256. MATRIX is the side of the
//            device's matrices, SUBGROUP its only subgroup size, MATRIX or 2 MATRIX; they, SINKS and FRAGS are put in front.
//            Matrices are named one by one: indexed by a loop variable they would leave the registers.
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> cache: array<vec4u>; // eight columns
@group(0) @binding(3) var<storage, read> sinks: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
alias Left = subgroup_matrix_left<f16, MATRIX, MATRIX>;
alias Right = subgroup_matrix_right<f16, MATRIX, MATRIX>;
alias Sums = subgroup_matrix_result<f32, MATRIX, MATRIX>;
const D = FRAGS * MATRIX;
const WORDS = D / 8u; // vec4u of a key
const TOKENS = 4u * MATRIX;
const KEYS = 2u * MATRIX;
const THREADS = 4u * SUBGROUP;
const SHARERS = SUBGROUP / MATRIX; // lanes that share a token, GROUPS groups of four keys each
const GROUPS = KEYS / SHARERS / 4u;
const KEY_STRIDE = WORDS + 1u;   // one vec4u more than needed, against bank conflicts
const ROW_STRIDE = KEYS / 4u + 1u;
const QUERY_GROUPS = MATRIX / 2u; // vec4u of the four matrices of queries staged at a time
const MASKED = -1e30;
var<workgroup> tile: array<vec4u, KEYS * KEY_STRIDE>;
var<workgroup> scores: array<vec4u, TOKENS * ROW_STRIDE>; // f32; then the weights as f16; first queries, last results
var<workgroup> place: array<u32, KEYS>;                   // of the tile's keys in the cache
var<workgroup> factor: array<f32, TOKENS>;

fn halves(a: vec4f, b: vec4f) -> vec4u {
    return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

// Columns of the block's queries from vec4u `base` on, scaled.
fn stage_queries(thread: u32, base: u32, first: u32, head: u32) {
    for (var i = thread; i < TOKENS * QUERY_GROUPS; i += THREADS) {
        let t = first + i / QUERY_GROUPS;
        let column = base + i % QUERY_GROUPS;
        var x = vec4u(0u);
        if (t < step.count && column < WORDS) {
            let at = (t * p.heads + head) * WORDS * 2u + column * 2u;
            x = halves(q[at] * p.scale, q[at + 1u] * p.scale);
        }
        scores[i / QUERY_GROUPS * ROW_STRIDE + i % QUERY_GROUPS] = x;
    }
}

// The tile's keys or values, whose first stands at `base`.
fn stage(thread: u32, base: u32) {
    for (var i = thread; i < KEYS * WORDS; i += THREADS) {
        tile[i / WORDS * KEY_STRIDE + i % WORDS] = cache[base + place[i / WORDS] * WORDS + i % WORDS];
    }
}

fn left(own: u32, column: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&scores, own + column * MATRIX / 8u, ROW_STRIDE); }
fn key(group: u32, f: u32) -> Right {
    return subgroupMatrixLoad<Right, col_major>(&tile, group * MATRIX * KEY_STRIDE + f * MATRIX / 8u, KEY_STRIDE);
}
fn value(group: u32, f: u32) -> Right {
    return subgroupMatrixLoad<Right, row_major>(&tile, group * MATRIX * KEY_STRIDE + f * MATRIX / 8u, KEY_STRIDE);
}
fn mma(a: Left, b: Right, c: Sums) -> Sums { return subgroupMatrixMultiplyAccumulate(a, b, c); }

fn finished(score: vec4f, position: u32, key: u32) -> vec4f {
    var s = score;
    if (p.softcap > 0.0) { s = p.softcap * tanh(clamp(s / p.softcap, vec4f(-10.0), vec4f(10.0))); }
    let keys = vec4u(key) + vec4u(0u, 1u, 2u, 3u);
    var seen = keys <= vec4u(position);
    if (p.window > 0u) { seen = seen & (keys + p.window > vec4u(position)); }
    return select(vec4f(MASKED), s, seen);
}

// Two matrices of results side by side to dst; every thread takes part.
fn put(a: Sums, b: Sums, thread: u32, own: u32, f: u32, first: u32, head: u32) {
    subgroupMatrixStore<row_major>(&scores, own, a, ROW_STRIDE);
    subgroupMatrixStore<row_major>(&scores, own + MATRIX / 4u, b, ROW_STRIDE);
    workgroupBarrier();
    for (var e = thread % SUBGROUP; e < MATRIX * KEYS; e += SUBGROUP) {
        let row = thread / SUBGROUP * MATRIX + e / KEYS;
        let column = f * MATRIX + e % KEYS;
        if (first + row < step.count && column < D) {
            let x = bitcast<f32>(scores[row * ROW_STRIDE + e % KEYS / 4u][e % 4u]);
            dst[((first + row) * p.heads + head) * D + column] = x * factor[row];
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let head = at.y;
    let kv_head = head / (p.heads / p.kv_heads);
    let first = at.x * TOKENS;
    let end = step.position + min(first + TOKENS, step.count);
    var begin = 0u;
    if (p.window > 0u && step.position + first >= p.window) { begin = step.position + first - p.window + 1u; }
    let own = thread / SUBGROUP * MATRIX * ROW_STRIDE; // where this subgroup's scores begin
    let row = thread / SHARERS;
    let part = thread % SHARERS * GROUPS;
    let position = step.position + first + row;

    var q0: Left; var q1: Left; var q2: Left; var q3: Left; var q4: Left; var q5: Left; var q6: Left; var q7: Left;
    var q8: Left; var q9: Left; var q10: Left; var q11: Left; var q12: Left; var q13: Left; var q14: Left; var q15: Left;
    var o0: Sums; var o1: Sums; var o2: Sums; var o3: Sums; var o4: Sums; var o5: Sums; var o6: Sums; var o7: Sums;
    var o8: Sums; var o9: Sums; var o10: Sums; var o11: Sums; var o12: Sums; var o13: Sums; var o14: Sums; var o15: Sums;
    stage_queries(thread, 0u * QUERY_GROUPS, first, head);
    workgroupBarrier();
    q0 = left(own, 0u); q1 = left(own, 1u); q2 = left(own, 2u); q3 = left(own, 3u);
    workgroupBarrier();
    if (FRAGS > 4u) {
        stage_queries(thread, 1u * QUERY_GROUPS, first, head);
        workgroupBarrier();
        q4 = left(own, 0u); q5 = left(own, 1u); q6 = left(own, 2u); q7 = left(own, 3u);
        workgroupBarrier();
    }
    if (FRAGS > 8u) {
        stage_queries(thread, 2u * QUERY_GROUPS, first, head);
        workgroupBarrier();
        q8 = left(own, 0u); q9 = left(own, 1u); q10 = left(own, 2u); q11 = left(own, 3u);
        workgroupBarrier();
    }
    if (FRAGS > 12u) {
        stage_queries(thread, 3u * QUERY_GROUPS, first, head);
        workgroupBarrier();
        q12 = left(own, 0u); q13 = left(own, 1u); q14 = left(own, 2u); q15 = left(own, 3u);
        workgroupBarrier();
    }

    var top = MASKED;
    var sum = 0.0;
    for (var turn = 0u; turn < 2u; turn++) {
        for (var base = begin; base < end; base += KEYS) {
            if (thread < KEYS) { place[thread] = min(base + thread, end - 1u) % p.capacity; }
            workgroupBarrier();
            stage(thread, kv_head * p.capacity * WORDS);
            workgroupBarrier();
            var s0 = Sums();
            var s1 = Sums();
            //#each f FRAGS
            s0 = mma(q#f#, key(0u, #f#u), s0); s1 = mma(q#f#, key(1u, #f#u), s1);
            //#end
            subgroupMatrixStore<row_major>(&scores, own, s0, ROW_STRIDE);
            subgroupMatrixStore<row_major>(&scores, own + MATRIX / 4u, s1, ROW_STRIDE);
            workgroupBarrier();
            var s = array<vec4f, GROUPS>();
            for (var i = 0u; i < GROUPS; i++) {
                s[i] = finished(bitcast<vec4f>(scores[row * ROW_STRIDE + part + i]), position, base + (part + i) * 4u);
            }
            if (turn == 0u) {
                for (var i = 0u; i < GROUPS; i++) { top = max(top, max(max(s[i].x, s[i].y), max(s[i].z, s[i].w))); }
                continue;
            }
            for (var i = 0u; i < GROUPS; i++) {
                s[i] = select(exp(s[i] - top), vec4f(0.0), s[i] <= vec4f(MASKED));
                sum += s[i].x + s[i].y + s[i].z + s[i].w;
            }
            workgroupBarrier();
            for (var i = 0u; i < GROUPS; i += 2u) { scores[row * ROW_STRIDE + (part + i) / 2u] = halves(s[i], s[i + 1u]); }
            stage(thread, (p.kv_heads + kv_head) * p.capacity * WORDS);
            workgroupBarrier();
            let p0 = left(own, 0u);
            let p1 = left(own, 1u);
            //#each f FRAGS
            o#f# = mma(p0, value(0u, #f#u), o#f#); o#f# = mma(p1, value(1u, #f#u), o#f#);
            //#end
        }
        if (SHARERS == 2u) {
            top = max(top, subgroupShuffleXor(top, 1u));
            if (turn == 1u) { sum += subgroupShuffleXor(sum, 1u); }
        }
    }
    if (thread % SHARERS == 0u) {
        factor[row] = 1.0 / sum;
        if (SINKS == 1u) {
            let sink_top = max(top, sinks[head]);
            let scale = exp(top - sink_top);
            factor[row] = scale / (sum * scale + exp(sinks[head] - sink_top));
        }
    }
    workgroupBarrier();
    put(o0, o1, thread, own, 0u, first, head);
    if (FRAGS > 2u) { put(o2, o3, thread, own, 2u, first, head); }
    if (FRAGS > 4u) { put(o4, o5, thread, own, 4u, first, head); }
    if (FRAGS > 6u) { put(o6, o7, thread, own, 6u, first, head); }
    if (FRAGS > 8u) { put(o8, o9, thread, own, 8u, first, head); }
    if (FRAGS > 10u) { put(o10, o11, thread, own, 10u, first, head); }
    if (FRAGS > 12u) { put(o12, o13, thread, own, 12u, first, head); }
    if (FRAGS > 14u) { put(o14, o15, thread, own, 14u, first, head); }
}
