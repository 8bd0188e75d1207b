// Computes:  the products of three matrices with one row of packed activations, side by side: q, k and v.
// Shapes:    W_i [MATRIXi][64 * UNITS]; dst: the rows of each behind those of the one before, from multiples of 64 on.
// Bindings:  0, 1 W_0, 2, 3 W_1, 4, 5 W_2, 6 x, 7 dst.
// Work:      LANES threads share ROWS rows; a workgroup does rows of one matrix: grid (sum of MATRIXi / TILE).
// Limits:    LANES a power of two, at least ROWS.
const X_AT = 6;
@group(0) @binding(7) var<storage, read_write> dst: array<f32>;
const TILE = THREADS / LANES * ROWS;
const BEGIN1 = (MATRIX0 + TILE - 1u) / TILE;
const BEGIN2 = BEGIN1 + (MATRIX1 + TILE - 1u) / TILE;
const TO1 = (MATRIX0 + 63u) / 64u * 64u;
const TO2 = TO1 + (MATRIX1 + 63u) / 64u * 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    var n = at.x * TILE + thread / LANES * ROWS;
    var rows = MATRIX0;
    var to = 0u;
    var sums = array<f32, ROWS>();
    let part = norm_part(thread);
    if (at.x < BEGIN1) {
        sums = sum_rows0(n, MATRIX0, lane);
    } else if (at.x < BEGIN2) {
        n -= BEGIN1 * TILE;
        rows = MATRIX1;
        to = TO1;
        sums = sum_rows1(n, MATRIX1, lane);
    } else {
        n -= BEGIN2 * TILE;
        rows = MATRIX2;
        to = TO2;
        sums = sum_rows2(n, MATRIX2, lane);
    }
    let value = norm_factor(thread, part) * reduce(sums, lane, thread);
    n += lane;
    if (lane < ROWS && n < rows) { dst[to + n] = value; }
}
