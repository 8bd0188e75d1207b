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
    add_rows0(0u, MATRIX0, 0u, 1.0, lane);
    var top = NONE;
    for (var e = 0u; e < MATRIX0; e++) {
        let logit = factor * subgroupAdd(sums[e]);
        sums[e] = logit;
        top = max(top, logit);
    }
    var sum = 0.0;
    if (NORMALISE == 0u) {
        for (var e = 0u; e < MATRIX0; e++) { sum += exp(sums[e] - top); }
    }
    for (var i = 0u; i < CHOICES; i++) {
        var best = NONE;
        var which = 0u;
        for (var e = 0u; e < MATRIX0; e++) {
            if (sums[e] > best) {
                best = sums[e];
                which = e;
            }
        }
        sums[which] = NONE;
        chosen[i] = exp(best - top);
        if (NORMALISE == 1u) { sum += chosen[i]; }
        if (lane == 0u) {
            routed[i] = f32(which);
            routed[CHOICES + i] = f32(which);
        }
    }
    for (var i = lane; i < CHOICES; i += LANES) { routed[2u * CHOICES + i] = chosen[i] / sum * bitcast<f32>(SCALE); }
}
