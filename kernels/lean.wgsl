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
var<private> sums: array<f32, ROWS / LANES>; // of rows 4 q to 4 q + 3, a lane's

fn times(x: array<vec4f, 8>, w: array<vec4f, 8>, sum: vec4f) -> vec4f {
    let half = fma(x[3], w[3], fma(x[2], w[2], fma(x[1], w[1], fma(x[0], w[0], sum))));
    return fma(x[7], w[7], fma(x[6], w[6], fma(x[5], w[5], fma(x[4], w[4], half))));
}

fn sum_of(x: array<vec4f, 8>) -> vec4f { return x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7]; }
fn total(v: vec4f) -> f32 { return v.x + v.y + v.z + v.w; }

// The lanes' words for all of them; only[i]: all bits in lane i, in others none.
fn spread(word: u32, only: vec4u) -> vec4u {
    return vec4u(subgroupOr(word & only.x), subgroupOr(word & only.y), subgroupOr(word & only.z), subgroupOr(word & only.w));
}

// Shifts are made lane by lane: quants become floats where they stand in their word, without. A mask's highest bit would make a
// negative number: in words whose TOP is turned around, the highest of four is too small by 2^31 instead.
const TOP = 0x80000000u;
const BYTES = vec4u(1u, 0x100u, 0x10000u, 0x1000000u);
const LOW = 0x0fu * BYTES;
const HIGH = 0xf0u * BYTES;

// Columns for what stands so in the low bits of bytes; `high`: for the last sixteen what is 1 there, 1 / 16 in high nibbles.
fn placed(x: array<vec4f, 8>, high: f32) -> array<vec4f, 8> {
    let h = PLACES * high;
    return array<vec4f, 8>(x[0] * PLACES, x[1] * PLACES, x[2] * PLACES, x[3] * PLACES, x[4] * h, x[5] * h, x[6] * h, x[7] * h);
}

// Eight columns with what the mask leaves of two words; sixteen.
fn meet2(a: vec4f, b: vec4f, v: u32, w: u32, mask: vec4u, sum: vec4f) -> vec4f {
    return fma(b, vec4f(vec4i(vec4u(w) & mask)), fma(a, vec4f(vec4i(vec4u(v) & mask)), sum));
}
fn meet(a: vec4f, b: vec4f, c: vec4f, d: vec4f, w: vec4u, mask: vec4u, sum: vec4f) -> vec4f {
    return meet2(c, d, w.z, w.w, mask, meet2(a, b, w.x, w.y, mask, sum));
}

// The factor of x's norm.
fn norm_factor(lane: u32) -> f32 {
    if (NORM == 0u) { return 1.0; }
    var four = vec4f();
    for (var i = lane; i < SQUARES; i += LANES) { four += x[8u * CHUNKS + i]; }
    return inverseSqrt(subgroupAdd(dot(four, vec4f(1.0))) / f32(32u * CHUNKS) + bitcast<f32>(EPS));
}
