// MXFP4 against packed activations; the matrix as format_mxfp4.wgsl has it. A unit is 64 columns of a row: two blocks.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<u32>;
struct Unit$ { a: vec4u, b: vec4u, scales: u32 }
const IN_ORDER$ = true;

fn group_of$(u: u32, k: u32) -> u32 { return 4u * u + k; }

fn load_unit$(at: u32) -> Unit$ { return Unit$(wq$[2u * at], wq$[2u * at + 1u], ws$[at / 2u] >> (at % 2u * 16u)); }

// E2M1 in the low nibbles of all bytes -> twice the value plus 12 in the bytes: magnitudes are 0, 1, 2, 3, 4, 6, 8, 12,
// the three bits themselves, plus the low two where the third is set, plus 2 where all are.
fn twice$(n: vec4u) -> vec4u {
    let ones = vec4u(0x01010101u);
    let m = n & vec4u(0x07070707u);
    let third = (n >> vec4u(2u)) & ones;
    let all = third & m & (m >> vec4u(1u));
    let magnitude = m + (m & (third * 3u)) + (all << vec4u(1u));
    let negative = ((n >> vec4u(3u)) & ones) * 255u;
    return magnitude + vec4u(0x0c0c0c0cu) - ((magnitude & negative) << vec4u(1u));
}

fn dot_unit$(w: Unit$, u: u32, x: array<vec4u, 4>, s: array<vec2f, 4>) -> f32 {
    // exponents 0 and below, values under 2^-126, become 0
    let d = 0.5 * vec2f(bitcast<f32>((w.scales & 255u) << 23u), bitcast<f32>(((w.scales >> 8u) & 255u) << 23u));
    let first = s[0].x * f32(dot_bytes(twice$(w.a), x[0])) + s[1].x * f32(dot_bytes(twice$(w.a >> vec4u(4u)), x[1]));
    let next = s[2].x * f32(dot_bytes(twice$(w.b), x[2])) + s[3].x * f32(dot_bytes(twice$(w.b >> vec4u(4u)), x[3]));
    return d.x * (first - 12.0 * (s[0].y + s[1].y)) + d.y * (next - 12.0 * (s[2].y + s[3].y));
}
