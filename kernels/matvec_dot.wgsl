// Computes:  a product of one row of packed activations with integer dot products: y[n] = sum_k x[k] * W[n][k] (+ bias[n]).
//            MODE 0: dst = y.  1: dst += y.  2: two matrices, dst and dst2.  3: two matrices, act(y) * y2, packed again
//            (ACT as KIND in elementwise.wgsl).
// Shapes:    W [rows][64 * units]; behind pack.wgsl, act.wgsl and a dot_*.wgsl.
// Bindings:  2 x, 3 bias (any buffer when BIAS is false), 4 dst, 7 dst2 (any writable buffer but in MODE 2), 8 params.
// Work:      LANES threads share ROWS rows; grid (rows / (ROWS * 128 / LANES)), the second matrix of MODE 2 from `split` on.
// Limits:    LANES a power of two, 4 to 128; ROWS 1, 2 or 4; MODE 3: ROWS * 128 / LANES is 16, which divides rows.
struct Params { rows: u32, rows2: u32, units: u32, split: u32, alpha: f32, limit: f32, pad0: u32, pad1: u32 }
@group(0) @binding(2) var<storage, read> x: array<vec4u>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<u32>;
@group(0) @binding(7) var<storage, read_write> dst2: array<u32>;
@group(0) @binding(8) var<uniform> p: Params;
override LANES: u32 = 32;
override ROWS: u32 = 4;
override MODE: u32 = 0;
override BIAS: bool = false;
override ACT: u32 = 0;
const THREADS = 128u;
var<workgroup> partial: array<array<f32, 128>, 4>;
var<workgroup> values: array<f32, 16>;

// The sums of all lanes; lane r of a row group gets row r's.
fn reduce(sums: array<f32, 4>, lane: u32, thread: u32) -> f32 {
    for (var r = 0u; r < ROWS; r++) { partial[r][thread] = sums[r]; }
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            for (var r = 0u; r < ROWS; r++) { partial[r][thread] += partial[r][thread + half]; }
        }
        workgroupBarrier();
    }
    let result = partial[lane % ROWS][thread - lane];
    workgroupBarrier();
    return result;
}

fn pack_values(at: u32) {
    let group = pack_group(vec4f(values[0], values[1], values[2], values[3]), vec4f(values[4], values[5], values[6], values[7]),
                           vec4f(values[8], values[9], values[10], values[11]), vec4f(values[12], values[13], values[14], values[15]));
    for (var i = 0u; i < 4u; i++) { dst[4u * at + i] = group.bytes[i]; }
    let scales = p.rows / 4u + 2u * at;
    dst[scales] = bitcast<u32>(group.scale);
    dst[scales + 1u] = bitcast<u32>(group.sum);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let second = MODE == 2u && at.x >= p.split;
    let block = at.x - select(0u, p.split, second);
    let rows = select(p.rows, p.rows2, second);
    let first = (block * (THREADS / LANES) + thread / LANES) * ROWS;
    let scales = 4u * p.units;
    var sums: array<f32, 4>;
    var sums2: array<f32, 4>;
    for (var u = lane; u < p.units; u += LANES) {
        var w: array<Unit, 4>;
        for (var r = 0u; r < ROWS; r++) { w[r] = load_unit(min(first + r, rows - 1u), p.units, u, second); }
        var w2: array<Unit, 4>;
        if (MODE == 3u) {
            for (var r = 0u; r < ROWS; r++) { w2[r] = load_unit(min(first + r, rows - 1u), p.units, u, true); }
        }
        var bytes: array<vec4u, 4>;
        var scale: array<vec2f, 4>;
        for (var k = 0u; k < 4u; k++) {
            let g = group_of(u, k);
            bytes[k] = x[g];
            let two = bitcast<vec4f>(x[scales + g / 2u]);
            scale[k] = select(two.xy, two.zw, g % 2u == 1u);
        }
        for (var r = 0u; r < ROWS; r++) { sums[r] += dot_unit(w[r], u, bytes, scale); }
        if (MODE == 3u) {
            for (var r = 0u; r < ROWS; r++) { sums2[r] += dot_unit(w2[r], u, bytes, scale); }
        }
    }
    var value = reduce(sums, lane, thread);
    if (MODE == 3u) {
        let gate = value;
        value = activate(ACT, gate, reduce(sums2, lane, thread), p.alpha, p.limit);
        if (lane < ROWS) { values[thread / LANES * ROWS + lane] = value; }
        workgroupBarrier();
        if (thread == 0u) { pack_values(at.x); }
        return;
    }
    let n = first + lane;
    if (lane >= ROWS || n >= rows) { return; }
    if (BIAS) { value += bias[n]; }
    if (MODE == 1u) { value += bitcast<f32>(dst[n]); }
    if (second) { dst2[n] = bitcast<u32>(value); } else { dst[n] = bitcast<u32>(value); }
}
