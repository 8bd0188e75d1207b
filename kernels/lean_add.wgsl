// Computes:  residual[n] += sum_k x[k] * W[n][k], of EXPERTS the sum over the chosen ones, times their shares; and if NEXT what
//            the norm behind it is made of: twin[n] = residual[n] * (gain[n] + offset) and the residual's sums of squares.
// Shapes:    x [EXPERTS ? CHOICES : 1][32 * CHUNKS]; W [max(EXPERTS, 1)][MATRIX0][32 * CHUNKS]; residual, gain [MATRIX0]; routed
//            [3][CHOICES]: experts, then shares as the third; twin: x of lean.wgsl with NORM.
// Bindings:  0, 1 W, 2 x, 3 routed (any buffer without EXPERTS), 4 residual, 5 gain, 6 twin (any two without NEXT).
// Work:      grid (rows / ROWS).
// Limits:    those of lean.wgsl; MATRIX0 a multiple of ROWS if NEXT.
const X_AT = 2;
const X_ROWS = max(CHOICES, 1u);
@group(0) @binding(3) var<storage, read> routed: array<f32, 3u * max(CHOICES, 1u)>;
@group(0) @binding(4) var<storage, read_write> residual: array<f32, MATRIX0>;
@group(0) @binding(5) var<storage, read> gain: array<f32, max(NEXT * MATRIX0, 1u)>;
@group(0) @binding(6) var<storage, read_write> twin: array<f32, max(NEXT * (MATRIX0 + MATRIX0 / ROWS), 1u)>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) lane: u32) {
    let first = at.x * ROWS;
    let count = min(ROWS, MATRIX0 - first);
    let factor = norm_factor(lane);
    if (EXPERTS == 0u) {
        add_rows0(first, count, 0u, factor, lane);
    } else {
        for (var i = 0u; i < CHOICES; i++) {
            add_rows0(u32(routed[i]) * MATRIX0 + first, count, 8u * CHUNKS * i, routed[2u * CHOICES + i], lane);
        }
    }
    var square = 0.0;
    for (var q = 0u; 4u * q < count; q++) {
        let sum = sums[q];
        let n = first + 4u * q + lane;
        if (n < MATRIX0) {
            let now = residual[n] + sum;
            residual[n] = now;
            if (NEXT == 1u) {
                twin[n] = now * (gain[n] + bitcast<f32>(OFFSET));
                square += now * now;
            }
        }
    }
    if (NEXT == 1u) {
        let all = subgroupAdd(square);
        if (lane == 0u) { twin[MATRIX0 + at.x] = all; }
    }
}
