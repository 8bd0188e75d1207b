// Computes:  dst[n] += sum_k x[k] * W[n][k] (+ bias[n]), and what dot_residual.wgsl and dot_route.wgsl say.
// Shapes:    W [MATRIX0][64 * UNITS]; dst, gain, bias [MATRIX0]; packed as pack.wgsl says, then a sum of squares for each group.
// Bindings:  0, 1 W, 2 x, 3 bias (any buffer when BIAS is 0), 4 dst, 5 gain, 6 packed (any buffers without PACK),
//            7 router (any buffer when EXPERTS is 0).
// Work:      LANES threads share ROWS rows: grid (MATRIX0 / TILE, 1 or 0).
// Limits:    LANES a power of two, at least ROWS; PACK: TILE a multiple of 16 that divides MATRIX0.
const X_AT = 2;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;
@group(0) @binding(5) var<storage, read> gain: array<f32>;
@group(0) @binding(6) var<storage, read_write> packed: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let in_tile = thread / LANES * ROWS + lane;
    let n = at.x * TILE + in_tile;
    let mine = lane < ROWS && n < MATRIX0;
    var old = 0.0;
    var factor = 0.0;
    if (mine) {
        old = dst[n];
        if (BIAS == 1u) { old += bias[n]; }
        if (PACK == 1u) { factor = gain[n] + bitcast<f32>(OFFSET); }
    }
    let part = norm_part(thread);
    let w = fetch_router(at.x, thread);
    let sums = sum_rows0(n - lane, MATRIX0, lane);
    let value = norm_factor(thread, part) * reduce(sums, lane, thread);
    add_to_residual(n, mine, in_tile, at.x, thread, old, value, factor);
    route(at.x, thread, w);
}
