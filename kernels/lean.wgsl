// What the lean_*.wgsl kernels share: single tokens on devices that are programs, where a dispatch costs more than its work, and a
// barrier more than a dispatch. A workgroup is one subgroup of LANES threads, which share ROWS rows: each takes a part of the
// columns, so that what is read of x serves all of the rows, and their sums meet in registers. The row x may be that of a norm whose
// factor is yet to come (NORM): then columns, times the norm's gain, stand before sums of squares, one of each ROWS columns.
// Arrays have lengths that the compiler knows: it asks for others at every access where it checks them.
// Limits: columns multiples of 64.
const LANES = 4u;
const ROWS = 64u;
const STEPS = (CHUNKS + 2u * LANES - 1u) / (2u * LANES); // of lanes with two chunks each
const SQUARES = (32u * CHUNKS / ROWS + 3u) / 4u; // vectors
@group(0) @binding(X_AT) var<storage, read> x: array<vec4f, 8u * CHUNKS * X_ROWS + NORM * SQUARES>;
var<private> sums: array<f32, ROWS / LANES>; // of rows 4 q to 4 q + 3, a lane's

fn times(x: array<vec4f, 8>, w: array<vec4f, 8>, sum: vec4f) -> vec4f {
    let half = fma(x[3], w[3], fma(x[2], w[2], fma(x[1], w[1], fma(x[0], w[0], sum))));
    return fma(x[7], w[7], fma(x[6], w[6], fma(x[5], w[5], fma(x[4], w[4], half))));
}

fn sum_of(x: array<vec4f, 8>) -> vec4f { return x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7]; }
fn total(v: vec4f) -> f32 { return v.x + v.y + v.z + v.w; }

// A lane's word for all of them; only: all bits in that lane, in others none. The words of all lanes.
fn spread(word: u32, only: u32) -> u32 { return subgroupOr(word & only); }
fn spread_all(word: u32, only: vec4u) -> vec4u {
    return vec4u(spread(word, only.x), spread(word, only.y), spread(word, only.z), spread(word, only.w));
}

// The sum of all lanes'. A quad's swaps cost an instruction, a subgroup's sum ten.
fn of_all(v: f32) -> f32 {
    let two = v + quadSwapX(v);
    return two + quadSwapY(two);
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

// In registers or on the stack: constants are fetched anew for each use.
fn kept(mask: vec4u, lane: u32) -> vec4u { return mask | vec4u(lane & LANES); }

// Four columns with what the first mask leaves of v, and four with what the second one leaves of w; two sums of each. Number by number,
// since SwiftShader keeps in registers what is used at once, and into sums that do not wait for each other.
fn meet(x: vec4f, y: vec4f, v: u32, w: u32, first: vec4u, second: vec4u, sum: vec4f) -> vec4f {
    let a = fma(x.x, f32(i32(v & first.x)), sum.x);
    let b = fma(x.y, f32(i32(v & first.y)), sum.y);
    let c = fma(y.x, f32(i32(w & second.x)), sum.z);
    let d = fma(y.y, f32(i32(w & second.y)), sum.w);
    let e = fma(x.z, f32(i32(v & first.z)), a);
    let f = fma(x.w, f32(i32(v & first.w)), b);
    let g = fma(y.z, f32(i32(w & second.z)), c);
    let h = fma(y.w, f32(i32(w & second.w)), d);
    return vec4f(e, f, g, h);
}

// A chunk's first and last sixteen columns, with words each.
fn meet_halves(x: array<vec4f, 8>, v: vec4u, w: vec4u, first: vec4u, second: vec4u, sum: vec4f) -> vec4f {
    let a = meet(x[0], x[4], v.x, w.x, first, second, sum);
    let b = meet(x[1], x[5], v.y, w.y, first, second, a);
    let c = meet(x[2], x[6], v.z, w.z, first, second, b);
    return meet(x[3], x[7], v.w, w.w, first, second, c);
}

// The factor of x's norm.
fn norm_factor(lane: u32) -> f32 {
    if (NORM == 0u) { return 1.0; }
    var four = vec4f();
    for (var i = lane; i < SQUARES; i += LANES) { four += x[8u * CHUNKS + i]; }
    return inverseSqrt(subgroupAdd(dot(four, vec4f(1.0))) / f32(32u * CHUNKS) + bitcast<f32>(EPS));
}
