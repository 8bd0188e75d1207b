// MXFP4 against packed activations; the matrix as format_mxfp4.wgsl has it. A unit is 64 columns of a row: two blocks.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<u32>;
struct Unit$ { a: vec4u, b: vec4u, scales: u32 }
const IN_ORDER$ = true;
const FINE$ = true;

fn place_of$(u: u32, k: u32) -> vec2u { return vec2u(k, u); }

fn load_unit$(at: u32) -> Unit$ { return Unit$(wq$[2u * at], wq$[2u * at + 1u], ws$[at / 2u] >> (at % 2u * 16u)); }

// Twice the values of eight E2M1 nibbles a word: magnitudes are 0, 1, 2, 3, 4, 6, 8, 12, the three bits themselves, plus the
// low two where the third is set, plus 2 where all are. They are found for all nibbles at once; then signs are applied in
// bytes, even nibbles and odd ones apart.
struct Twice$ { even: vec4u, odd: vec4u }

fn signed$(magnitude: vec4u, negative: vec4u) -> vec4u { return (magnitude ^ (negative * 255u)) + negative; } // no zero is negative

fn twice$(w: vec4u) -> Twice$ {
    let m = w & vec4u(0x77777777u);
    let third = (w >> vec4u(2u)) & vec4u(0x11111111u);
    let all = third & m & (m >> vec4u(1u));
    let magnitude = m + (m & (third * 3u)) + (all << vec4u(1u));
    let bytes = vec4u(0x0f0f0f0fu);
    let ones = vec4u(0x01010101u);
    return Twice$(signed$(magnitude & bytes, (w >> vec4u(3u)) & ones), signed$((magnitude >> vec4u(4u)) & bytes, (w >> vec4u(7u)) & ones));
}

fn dot_fine$(w: vec4u, bytes: vec4u, low: vec4u) -> f32 { return f32(256 * dot_bytes(w, bytes) + dot_bytes(w, low)); }

fn dot_unit$(w: Unit$, u: u32, in: Input) -> f32 {
    // exponents 0 and below, values under 2^-126, become 0; 512: twice, and 256ths
    let d = vec2f(bitcast<f32>((w.scales & 255u) << 23u), bitcast<f32>(((w.scales >> 8u) & 255u) << 23u)) / 512.0;
    let a = twice$(w.a);
    let b = twice$(w.b);
    return d.x * (in.scale[0].x * dot_fine$(a.even, in.bytes[0], in.low[0]) + in.scale[1].x * dot_fine$(a.odd, in.bytes[1], in.low[1])) +
           d.y * (in.scale[2].x * dot_fine$(b.even, in.bytes[2], in.low[2]) + in.scale[3].x * dot_fine$(b.odd, in.bytes[3], in.low[3]));
}
