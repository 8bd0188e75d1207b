// What the lean_*.wgsl kernels share: single tokens on devices that are programs, where a dispatch costs more than its work, and a
// barrier more than a dispatch. A workgroup is one subgroup of LANES threads, which share ROWS rows: each takes a part of the
// columns, so that what is read of x serves all of the rows, and their sums meet in registers. The row x may be that of a norm whose
// factor is yet to come (NORM): then columns, times the norm's gain, stand before sums of squares, one of each ROWS columns.
// Arrays have lengths that the compiler knows: it asks for others at every access where it checks them.
// Limits: columns multiples of 64.
const LANES = 4u;
const ROWS = 32u;
const SQUARES = (CHUNKS + 3u) / 4u; // vectors
@group(0) @binding(X_AT) var<storage, read> x: array<vec4f, 8u * CHUNKS * X_ROWS + NORM * SQUARES>;
var<private> sums: array<f32, ROWS>;

fn times(x: array<vec4f, 8>, w: array<vec4f, 8>, sum: vec4f) -> vec4f {
    let half = fma(x[3], w[3], fma(x[2], w[2], fma(x[1], w[1], fma(x[0], w[0], sum))));
    return fma(x[7], w[7], fma(x[6], w[6], fma(x[5], w[5], fma(x[4], w[4], half))));
}

// The factor of x's norm.
fn norm_factor(lane: u32) -> f32 {
    if (NORM == 0u) { return 1.0; }
    var four = vec4f();
    for (var i = lane; i < SQUARES; i += LANES) { four += x[8u * CHUNKS + i]; }
    return inverseSqrt(subgroupAdd(dot(four, vec4f(1.0))) / f32(32u * CHUNKS) + bitcast<f32>(EPS));
}

// Of rows 4 q to 4 q + 3 the one of this lane, which has all lanes' sums then.
fn row_sum(q: u32, lane: u32) -> f32 {
    let a = subgroupAdd(sums[4u * q]);
    let b = subgroupAdd(sums[4u * q + 1u]);
    let c = subgroupAdd(sums[4u * q + 2u]);
    let d = subgroupAdd(sums[4u * q + 3u]);
    return select(select(a, b, lane == 1u), select(c, d, lane == 3u), lane >= 2u);
}
