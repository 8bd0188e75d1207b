// Computes:  dst[n] += sum over the chosen experts of share * (sum_k x[choice][k] * W[expert][n][k] (+ bias[expert][n])), and
//            what dot_residual.wgsl says.
// Shapes:    W [EXPERTS][MATRIX0][64 * UNITS]; x [CHOICES][64 * UNITS]; bias [EXPERTS][MATRIX0]; dst, gain [MATRIX0]; packed as pack.wgsl says, then a sum of squares for each group.
// Bindings:  0, 1 W, 2 x, 3 bias (any buffer when BIAS is 0), 4 dst, 5 gain, 6 packed (any buffers without PACK).
// Work:      LANES threads share ROWS rows of all chosen experts: grid (MATRIX0 / TILE, 1 or 0).
// Limits:    LANES a power of two, at least ROWS; PACK: TILE a multiple of 16 that divides MATRIX0.
const X_AT = 2;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;
@group(0) @binding(5) var<storage, read> gain: array<f32>;
@group(0) @binding(6) var<storage, read_write> packed: array<u32>;
const ALL = CHOICES * UNITS;

// Units v = choice * UNITS + u of all chosen experts' rows.
fn load_choice(first: u32, v: u32) -> array<Unit0, ROWS> {
    let at = min(v, ALL - 1u);
    let base = chosen[at / UNITS] * MATRIX0;
    var w = array<Unit0, ROWS>();
    for (var r = 0u; r < ROWS; r++) { w[r] = load_unit0((base + min(first + r, MATRIX0 - 1u)) * UNITS + at % UNITS); }
    return w;
}

fn sum_choices(first: u32, lane: u32) -> array<f32, ROWS> {
    var sums = array<f32, ROWS>();
    var w = load_choice(first, lane);
    for (var i = 0u; i < STEPS; i++) {
        let v = lane + i * LANES;
        var next = w;
        if (FETCH == 1u && i + 1u < STEPS) { next = load_choice(first, v + LANES); }
        let at = min(v, ALL - 1u);
        let in = load_input0(at);
        let weight = select(share_of(at / UNITS), 0.0, v >= ALL);
        for (var r = 0u; r < ROWS; r++) { sums[r] += weight * dot_unit0(w[r], at % UNITS, in); }
        if (FETCH != 1u && i + 1u < STEPS) { next = load_choice(first, v + LANES); }
        w = next;
    }
    return sums;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let in_tile = thread / LANES * ROWS + lane;
    let n = at.x * TILE + in_tile;
    let mine = lane < ROWS && n < MATRIX0;
    choose(thread);
    var old = 0.0;
    var factor = 0.0;
    if (mine) {
        old = dst[n];
        if (BIAS == 1u) {
            for (var i = 0u; i < CHOICES; i++) { old += share_of(i) * bias[expert_of(i) * MATRIX0 + n]; }
        }
        if (PACK == 1u) { factor = gain[n] + bitcast<f32>(OFFSET); }
    }
    let sums = sum_choices(n - lane, lane);
    add_to_residual(n, mine, in_tile, at.x, thread, old, reduce(sums, lane, thread), factor);
}
