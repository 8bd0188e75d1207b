// Computes:  dst[n] = sum_k norm(x)[k] * W[n][k] for one row x.
// Shapes:    x as lean.wgsl says; W [MATRIX0][32 * CHUNKS]; dst [MATRIX0].
// Bindings:  0, 1 W, 2 x, 3 dst.
// Work:      grid (rows / ROWS).
// Limits:    those of lean.wgsl.
const X_AT = 2;
const X_ROWS = 1u;
@group(0) @binding(3) var<storage, read_write> dst: array<f32, MATRIX0>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) lane: u32) {
    let first = at.x * ROWS;
    let count = min(ROWS, MATRIX0 - first);
    let factor = norm_factor(lane);
    add_rows0(first, count, 0u, 1.0, lane);
    for (var q = 0u; 4u * q < count; q++) {
        let sum = factor * sums[q];
        let r = 4u * q + lane;
        if (r < count) { dst[first + r] = sum; }
    }
}
