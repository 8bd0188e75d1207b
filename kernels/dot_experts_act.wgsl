// Computes:  act(gate) * up, packed again, of one row of packed activations, for each of the token's chosen experts: ACT as
//            KIND in elementwise.wgsl.
// Shapes:    gate, up [EXPERTS][MATRIX0][64 * UNITS]; bias [2][EXPERTS][MATRIX0]: gate's, up's; logits [EXPERTS]; packed
//            [CHOICES * MATRIX0] as pack.wgsl says, then four words for each choice.
// Bindings:  0, 1 gate, 2, 3 up, 4 x, 5 logits (or what choose_parts.wgsl says), 6 bias (any buffer when BIAS is 0), 7 packed.
// Work:      LANES threads share ROWS rows: grid (MATRIX0 / TILE, CHOICES or 0).
// Limits:    LANES a power of two, at least ROWS; TILE a multiple of 16 that divides MATRIX0.
const X_AT = 4;
@group(0) @binding(5) var<storage, read> logits: array<f32>;
@group(0) @binding(6) var<storage, read> bias: array<f32>;
@group(0) @binding(7) var<storage, read_write> packed: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let team = thread / LANES;
    let part = norm_part(thread);
    let factor = norm_factor(thread, part);
    choose(thread, factor);
    let base = chosen[at.y] * MATRIX0;
    let row = at.x * TILE + team * ROWS;
    let n = base + row;
    let sums = sum_pairs(n, base + MATRIX0, lane);
    var gate = factor * reduce(sums.a, lane, thread);
    var up = factor * reduce(sums.b, lane, thread);
    if (lane < ROWS) {
        if (BIAS == 1u) {
            let b = expert_of(at.y) * MATRIX0 + row + lane;
            gate += bias[b];
            up += bias[EXPERTS * MATRIX0 + b];
        }
        put_value(team * ROWS + lane, activate(ACT, gate, up, bitcast<f32>(ALPHA), bitcast<f32>(LIMIT)));
    }
    workgroupBarrier();
    if (at.x == 0u && thread == 0u) { // for choose_made.wgsl
        let made = (CHOICES * MATRIX0 / 16u) * 11u + 4u * at.y;
        packed[made] = chosen[at.y];
        packed[made + 1u] = expert_of(at.y);
        packed[made + 2u] = bitcast<u32>(share_of(at.y) * bitcast<f32>(SCALE));
    }
    store_tile((at.y * MATRIX0 + at.x * TILE) / 16u, CHOICES * MATRIX0 / 16u, thread);
}
