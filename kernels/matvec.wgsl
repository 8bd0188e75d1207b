// Computes:  dst[t][z][n] = sum_k src[t][z][k] * W[row(z) + n][k] (+ bias[n]): one token at a time, bound by reading W.
//            IDS: row t is a (token, choice) pair, W and bias those of expert ids[t]; pairs of experts outside the
//            `experts` from `first` on, which W holds, are left alone. PLACED: ids hold the slot of W, and the expert << 16.
// Shapes:    src, dst at t * cols + z * stride + offset; W [..][32 * chunks]; behind a format_*.wgsl.
// Bindings:  2 src, 3 bias (any buffer when BIAS is false), 4 ids (any when IDS is false), 5 dst, 6 params.
// Work:      LANES threads share ROWS rows; grid (rows / (ROWS * THREADS / LANES), tokens or pairs, z).
// Limits:    LANES and THREADS powers of two, 4 <= LANES <= THREADS; offsets and strides of src multiples of 4.
struct Params {
    rows: u32, chunks: u32, src_cols: u32, dst_cols: u32,
    src_stride: u32, src_offset: u32, dst_stride: u32, dst_offset: u32,
    row_stride: u32, row_offset: u32, src_share: u32, first: u32, // src_share: pairs that read the same src row
    experts: u32,
}
@group(0) @binding(2) var<storage, read> src: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override LANES: u32 = 32;
override BIAS: bool = false;
override IDS: bool = false;
override PLACED: bool = false;
override THREADS: u32 = 128;
const ROWS = 4u;
var<workgroup> partial: array<f32, ROWS * THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let first = (at.x * (THREADS / LANES) + thread / LANES) * ROWS;
    let t = at.y;
    var base = at.z * p.row_stride + p.row_offset;
    var bias_base = 0u;
    if (IDS) {
        let id = ids[t];
        let place = select(id, id & 0xffffu, PLACED) - p.first; // wraps below it
        if (place >= p.experts) { return; }
        base = place * p.rows;
        bias_base = select(id, id >> 16u, PLACED) * p.rows;
    }
    let from_row = (t / p.src_share * p.src_cols + at.z * p.src_stride + p.src_offset) / 4u;
    var sums: array<f32, 4>;
    for (var c = lane; c < p.chunks; c += LANES) {
        var x: array<vec4f, 8>;
        for (var j = 0u; j < 8u; j++) { x[j] = src[from_row + element_group(c, j)]; }
        for (var r = 0u; r < ROWS; r++) {
            if (first + r < p.rows) {
                let w = load_chunk(base + first + r, p.chunks, c);
                var s = vec4f(0.0);
                for (var j = 0u; j < 8u; j++) { s = fma(x[j], w[j], s); }
                sums[r] += s.x + s.y + s.z + s.w;
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) { partial[r * THREADS + thread] = sums[r]; }
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            for (var r = 0u; r < ROWS; r++) { partial[r * THREADS + thread] += partial[r * THREADS + thread + half]; }
        }
        workgroupBarrier();
    }
    if (lane < ROWS && first + lane < p.rows) {
        let n = first + lane;
        var value = partial[lane * THREADS + thread - lane];
        if (BIAS) { value += bias[bias_base + n]; }
        dst[t * p.dst_cols + at.z * p.dst_stride + p.dst_offset + n] = value;
    }
}
