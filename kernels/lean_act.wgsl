// Computes:  dst[n] = act(gate, up) of the products gate and up of row n of W_0 and W_1 with norm(x); of EXPERTS those that were
//            chosen, dst [CHOICES][n].
// Shapes:    x as lean.wgsl says; W_i [max(EXPERTS, 1)][MATRIX0][32 * CHUNKS]; routed [3][CHOICES]: experts first.
// Bindings:  0, 1 W_0, 2, 3 W_1, 4 x, 5 routed (any buffer without EXPERTS), 6 dst.
// Work:      grid (rows / ROWS, choices).
// Limits:    those of lean.wgsl; W_0 and W_1 of one dtype. Behind act.wgsl.
const X_AT = 4;
const X_ROWS = 1u;
@group(0) @binding(5) var<storage, read> routed: array<f32, 3u * max(CHOICES, 1u)>;
@group(0) @binding(6) var<storage, read_write> dst: array<f32, MATRIX0 * max(CHOICES, 1u)>;
var<private> gates: array<f32, ROWS / LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) lane: u32) {
    let first = at.x * ROWS;
    let count = min(ROWS, MATRIX0 - first);
    var row = first;
    if (EXPERTS != 0u) { row += u32(routed[at.y]) * MATRIX0; }
    let factor = norm_factor(lane);
    add_rows0(row, count, 0u, factor, lane);
    for (var q = 0u; 4u * q < count; q++) { gates[q] = sums[q]; }
    sums = array<f32, ROWS / LANES>();
    add_rows1(row, count, 0u, factor, lane);
    for (var q = 0u; 4u * q < count; q++) {
        let up = sums[q];
        let n = first + 4u * q + lane;
        if (n < MATRIX0) { dst[at.y * MATRIX0 + n] = activate(ACT, gates[q], up, bitcast<f32>(ALPHA), bitcast<f32>(LIMIT)); }
    }
}
