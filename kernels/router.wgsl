// Computes:  dst[n] = sum_k norm(src)[k] * W[n][k] (+ bias[n]) for one token and few rows of floats: a router behind an RMSNorm
//            whose sums of squares are known.
// Shapes:    src, gain [32 * chunks]; W [rows][32 * chunks], behind a format_*.wgsl; packed as dot_residual.wgsl leaves it.
// Bindings:  2 src, 3 gain, 4 packed, 5 bias (any buffer when BIAS is false), 6 dst, 7 params.
// Work:      a workgroup a row: grid (rows, 1 or 0).
// Limits:    chunks even.
struct Params { chunks: u32, eps: f32, offset: f32, pad: u32 }
@group(0) @binding(2) var<storage, read> src: array<vec4f>;
@group(0) @binding(3) var<storage, read> gain: array<vec4f>;
@group(0) @binding(4) var<storage, read> packed: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> dst: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;
override BIAS: bool = false;
const THREADS = 64u;
var<workgroup> partial: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    var sum = vec4f(0.0);
    for (var c = thread; c < p.chunks; c += THREADS) {
        let w = load_chunk(at.x, p.chunks, c);
        for (var j = 0u; j < 8u; j++) {
            let g = element_group(c, j);
            sum = fma(src[g] * (gain[g] + vec4f(p.offset)), w[j], sum);
        }
    }
    var square = 0.0;
    let groups = 2u * p.chunks;
    for (var g = thread; g < groups; g += THREADS) { square += packed[6u * groups + g]; }
    partial[thread] = vec2f(sum.x + sum.y + sum.z + sum.w, square);
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }
    if (thread > 0u) { return; }
    var value = partial[0].x * inverseSqrt(partial[0].y / f32(16u * groups) + p.eps);
    if (BIAS) { value += bias[at.x]; }
    dst[at.x] = value;
}
