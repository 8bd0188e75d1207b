// Computes:  act(gate) * up, packed again, of one row of packed activations: ACT as KIND in elementwise.wgsl.
// Shapes:    gate, up [MATRIX0][64 * UNITS]; packed as pack.wgsl says.
// Bindings:  0, 1 gate, 2, 3 up, 4 x, 5 packed.
// Work:      LANES threads share ROWS rows: grid (MATRIX0 / TILE, 1 or 0).
// Limits:    LANES a power of two, at least ROWS; TILE a multiple of 16 that divides MATRIX0.
const X_AT = 4;
@group(0) @binding(5) var<storage, read_write> packed: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let team = thread / LANES;
    let part = norm_part(thread);
    let sums = sum_pairs(at.x * TILE + team * ROWS, MATRIX0, lane);
    let factor = norm_factor(thread, part);
    let gate = factor * reduce(sums.a, lane, thread);
    let up = factor * reduce(sums.b, lane, thread);
    if (lane < ROWS) { put_value(team * ROWS + lane, activate(ACT, gate, up, bitcast<f32>(ALPHA), bitcast<f32>(LIMIT))); }
    workgroupBarrier();
    store_tile(at.x * (TILE / 16u), MATRIX0 / 16u, thread);
}
