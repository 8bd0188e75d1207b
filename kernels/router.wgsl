// Computes:  dst[n] = sum_k norm(src)[k] * W[n][k] (+ bias[n]) for one token and few rows of floats: a router behind an RMSNorm
//            whose sums of squares are known.
// Shapes:    src, gain [32 * CHUNKS]; W [rows][32 * CHUNKS], behind a format_*.wgsl; packed as dot_residual.wgsl leaves it.
// Bindings:  2 src, 3 gain, 4 packed, 5 bias (any buffer when BIAS is 0), 6 dst.
// Work:      a workgroup a row: grid (rows, 1 or 0).
// Limits:    CHUNKS even. PLAIN 1, CODED 0: f32, of which neighbouring threads read neighbouring columns; else the other way round.
@group(0) @binding(2) var<storage, read> src: array<vec4f>;
@group(0) @binding(3) var<storage, read> gain: array<vec4f>;
@group(0) @binding(4) var<storage, read> packed: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> dst: array<f32>;
const THREADS = 128u;
const GROUPS = 2u * CHUNKS;
var<workgroup> partial: array<vec2f, THREADS>;

fn normed(i: u32) -> vec4f { return src[i] * (gain[i] + vec4f(bitcast<f32>(OFFSET))); }

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    var sum = vec4f(0.0);
    //#each p PLAIN
    for (var i = thread; i < 8u * CHUNKS; i += THREADS) { sum = fma(normed(i), wq[at.x * 8u * CHUNKS + i], sum); }
    //#end
    //#each c CODED
    for (var c = thread; c < CHUNKS; c += THREADS) {
        let w = load_chunk(at.x, CHUNKS, c);
        for (var j = 0u; j < 8u; j++) { sum = fma(normed(element_group(c, j)), w[j], sum); }
    }
    //#end
    var square = 0.0;
    for (var g = thread; g < GROUPS; g += THREADS) { square += packed[6u * GROUPS + g]; }
    partial[thread] = vec2f(sum.x + sum.y + sum.z + sum.w, square);
    workgroupBarrier();
    if (thread < 16u) {
        var part = vec2f(0.0);
        for (var i = 0u; i < THREADS / 16u; i++) { part += partial[thread + 16u * i]; }
        partial[thread] = part;
    }
    workgroupBarrier();
    if (thread > 0u) { return; }
    var both = vec2f(0.0);
    for (var i = 0u; i < 16u; i++) { both += partial[i]; }
    var value = both.x * inverseSqrt(both.y / f32(16u * GROUPS) + bitcast<f32>(EPS));
    if (BIAS == 1u) { value += bias[at.x]; }
    dst[at.x] = value;
}
