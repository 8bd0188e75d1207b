// Computes:  the products of three matrices with one row, behind each other: q, k and v.
// Shapes:    x as lean.wgsl says; W_i [MATRIXi][32 * CHUNKS]; dst [MATRIX0 + MATRIX1 + MATRIX2].
// Bindings:  0, 1 W_0, 2, 3 W_1, 4, 5 W_2, 6 x, 7 dst.
// Work:      a workgroup does rows of one matrix: grid (sum of MATRIXi / ROWS, each rounded up).
// Limits:    those of lean.wgsl.
const X_AT = 6;
const X_ROWS = 1u;
const BEGIN1 = (MATRIX0 + ROWS - 1u) / ROWS;
const BEGIN2 = BEGIN1 + (MATRIX1 + ROWS - 1u) / ROWS;
@group(0) @binding(7) var<storage, read_write> dst: array<f32, MATRIX0 + MATRIX1 + MATRIX2>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) lane: u32) {
    var to = at.x * ROWS;
    var end = MATRIX0;
    if (at.x >= BEGIN2) {
        to = MATRIX0 + MATRIX1 + (at.x - BEGIN2) * ROWS;
        end = MATRIX0 + MATRIX1 + MATRIX2;
    } else if (at.x >= BEGIN1) {
        to = MATRIX0 + (at.x - BEGIN1) * ROWS;
        end = MATRIX0 + MATRIX1;
    }
    let count = min(ROWS, end - to);
    let factor = norm_factor(lane);
    if (at.x < BEGIN1) { add_rows0(to, count, 0u, 1.0, lane); }
    else if (at.x < BEGIN2) { add_rows1(to - MATRIX0, count, 0u, 1.0, lane); }
    else { add_rows2(to - MATRIX0 - MATRIX1, count, 0u, 1.0, lane); }
    for (var q = 0u; 4u * q < count; q++) {
        let sum = factor * sums[q];
        let r = 4u * q + lane;
        if (r < count) { dst[to + r] = sum; }
    }
}
