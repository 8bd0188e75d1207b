// Computes:  dst[t][z][n] = sum_k src[t][z][k] * W[row(z) + n][k] (+ bias[n]): one token at a time, bound by reading W.
//            IDS: row t is a (token, choice) pair, W and bias those of expert ids[t]; pairs of experts outside the
//            `experts` from `first` on, which W holds, are left alone. PLACED: ids hold the slot of W, and the expert << 16.
// Shapes:    src, dst at t * cols + z * stride + offset; W [..][32 * chunks]; behind a format_*.wgsl and matvec_params.wgsl.
// Bindings:  those of matvec_params.wgsl.
// Work:      LANES threads share ROWS rows; grid (rows / (ROWS * THREADS / LANES), tokens or pairs, z).
// Limits:    LANES and THREADS powers of two, 4 <= LANES <= THREADS; offsets and strides of src multiples of 4.
override LANES: u32 = 32;
override THREADS: u32 = 128;
const ROWS = 4u;
var<workgroup> partial: array<f32, ROWS * THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let first = (at.x * (THREADS / LANES) + thread / LANES) * ROWS;
    let t = at.y;
    let matrix = matrix_of(t, at.z);
    if (!matrix.here) { return; }
    let from_row = src_row(t, at.z);
    var sums: array<f32, 4>;
    for (var c = lane; c < p.chunks; c += LANES) {
        var x: array<vec4f, 8>;
        for (var j = 0u; j < 8u; j++) { x[j] = src[from_row + element_group(c, j)]; }
        for (var r = 0u; r < ROWS; r++) {
            if (first + r < p.rows) {
                let w = load_chunk(matrix.row + first + r, p.chunks, c);
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
        if (BIAS) { value += bias[matrix.bias + n]; }
        dst[dst_row(t, at.z) + n] = value;
    }
}
