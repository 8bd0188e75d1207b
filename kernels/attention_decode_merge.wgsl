// Computes:  joins the partial results of attention_decode.wgsl by log-sum-exp: o = sum_i e^(m_i - M) o_i / (sum_i e^(m_i - M)
//            l_i [+ sink]), packed (PACK) or f32.
// Shapes:    partial [heads][SPLITS][V_DIM + 2] (o, m, l), of which as many as attention_share.wgsl says are there; vectors:
//            sinks [heads] at sinks_at; packed as pack.wgsl says, or f32 [heads][V_DIM].
// Bindings:  0 step, 1 partial, 2 vectors, 3 packed, 4 params; behind pack.wgsl, pack_store.wgsl, attention_share.wgsl.
// Work:      a workgroup a head: grid (heads).
// Limits:    V_DIM a multiple of 16 up to 256; SPLITS up to 256.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params { heads: u32, window: u32, sinks_at: u32, pad: u32 }
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read> vectors: array<f32>;
@group(0) @binding(3) var<storage, read_write> packed: array<u32>; // or the bits of f32
@group(0) @binding(4) var<uniform> p: Params;
const THREADS = 256u;
const TEAMS = THREADS / V_DIM;
var<workgroup> weight: array<f32, SPLITS>;
var<workgroup> part: array<f32, THREADS>;
var<workgroup> result: array<vec4f, V_DIM / 4u>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    const SIZE = V_DIM + 2u;
    let base = at.x * SPLITS * SIZE;
    let splits = splits_of(step.position - first_key(step.position, p.window));
    if (thread < splits) { weight[thread] = partial[base + thread * SIZE + V_DIM]; }
    let team = thread / V_DIM;
    let column = thread % V_DIM;
    workgroupBarrier();
    var top = -1e30;
    if (SINKS == 1u) { top = vectors[p.sinks_at + at.x]; }
    for (var i = 0u; i < splits; i++) { top = max(top, weight[i]); }
    workgroupBarrier();
    if (thread < splits) { weight[thread] = exp(weight[thread] - top); }
    workgroupBarrier();
    var sum = 0.0;
    if (team < TEAMS) {
        for (var i = team; i < splits; i += TEAMS) { sum += weight[i] * partial[base + i * SIZE + column]; }
    }
    part[thread] = sum;
    workgroupBarrier();
    if (thread < V_DIM) {
        var total = 0.0;
        if (SINKS == 1u) { total = exp(vectors[p.sinks_at + at.x] - top); }
        for (var i = 0u; i < splits; i++) { total += weight[i] * partial[base + i * SIZE + V_DIM + 1u]; }
        for (var t = 1u; t < TEAMS; t++) { sum += part[t * V_DIM + thread]; }
        if (PACK == 1u) { result[thread / 4u][thread % 4u] = sum / total; }
        else { packed[at.x * V_DIM + thread] = bitcast<u32>(sum / total); }
    }
    workgroupBarrier();
    if (PACK == 1u && thread < V_DIM / 16u) {
        let g = at.x * V_DIM / 16u + thread;
        store_group(g, p.heads * V_DIM / 16u, result[4u * thread], result[4u * thread + 1u], result[4u * thread + 2u], result[4u * thread + 3u]);
    }
}
