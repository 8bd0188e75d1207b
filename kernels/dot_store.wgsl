// Computes:  dst[n] = sum_k x[k] * W[n][k] (+ bias[n]) for one row of packed activations, with integer dot products.
// Shapes:    W [MATRIX0][64 * UNITS], dst [MATRIX0].
// Bindings:  0, 1 W, 2 x, 3 bias (any buffer when BIAS is 0), 4 dst.
// Work:      LANES threads share ROWS rows: grid (MATRIX0 / (ROWS * THREADS / LANES), 1 or 0).
// Limits:    LANES a power of two, at least ROWS.
const X_AT = 2;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let first = (at.x * (THREADS / LANES) + thread / LANES) * ROWS;
    let part = norm_part(thread);
    let sums = sum_rows0(first, MATRIX0, lane);
    var value = norm_factor(thread, part) * reduce(sums, lane, thread);
    let n = first + lane;
    if (lane >= ROWS || n >= MATRIX0) { return; }
    if (BIAS == 1u) { value += bias[n]; }
    dst[n] = value;
}
