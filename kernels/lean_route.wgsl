// Computes:  a router's product with norm(x), its CHOICES largest logits, ties to the lower index, and their softmax among
//            themselves (NORMALISE) or among all.
// Shapes:    x as lean.wgsl says; W [MATRIX0][32 * CHUNKS]; routed [3][CHOICES]: experts twice, shares.
// Bindings:  0, 1 W, 2 x, 3 routed.
// Work:      one workgroup.
// Limits:    those of lean.wgsl; MATRIX0 <= ROWS.
const X_AT = 2;
const X_ROWS = 1u;
const NONE = -3.4e38;
@group(0) @binding(3) var<storage, read_write> routed: array<f32, 3u * CHOICES>;
var<private> chosen: array<f32, CHOICES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    let factor = norm_factor(lane);
    add_rows0(0u, MATRIX0, 0u, factor, lane);
    for (var q = 0u; 4u * q < MATRIX0; q++) { sums[q] = select(NONE, sums[q], 4u * q + lane < MATRIX0); }
    var top = NONE;
    var sum = 0.0;
    for (var i = 0u; i < CHOICES; i++) {
        var mine = NONE;
        for (var q = 0u; 4u * q < MATRIX0; q++) { mine = max(mine, sums[q]); }
        let best = subgroupMax(mine);
        if (i == 0u) {
            top = best;
            if (NORMALISE == 0u) {
                for (var q = 0u; 4u * q < MATRIX0; q++) { sum += exp(sums[q] - top); }
                sum = subgroupAdd(sum);
            }
        }
        var first = MATRIX0;
        for (var q = 0u; 4u * q < MATRIX0; q++) { first = min(first, select(MATRIX0, 4u * q + lane, sums[q] == best)); }
        let which = min(subgroupMin(first), MATRIX0 - 1u); // where NaNs leave no order
        for (var q = 0u; 4u * q < MATRIX0; q++) { sums[q] = select(sums[q], NONE, 4u * q + lane == which); }
        chosen[i] = exp(best - top);
        if (NORMALISE == 1u) { sum += chosen[i]; }
        if (lane == 0u) {
            routed[i] = f32(which);
            routed[CHOICES + i] = f32(which);
        }
    }
    for (var i = lane; i < CHOICES; i += LANES) { routed[2u * CHOICES + i] = chosen[i] / sum * bitcast<f32>(SCALE); }
}
