// Q6_K against packed activations; the matrix as format_q6_k.wgsl has it. A unit is 64 columns of a row: 16 columns at l,
// l + 32, l + 64, l + 96 of a half of 128, each under one scale.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<u32>;
struct Unit$ { a: vec4u, b: vec4u, high: vec4u, scales: vec2u, d: u32 }
const IN_ORDER$ = false;
const FINE$ = false;

// group u / 4 * 16 + u % 4 / 2 * 8 + 2 k + u % 2
fn place_of$(u: u32, k: u32) -> vec2u { return vec2u(k % 2u * 2u + u % 2u, u / 2u * 2u + k / 2u); }

fn load_unit$(at: u32) -> Unit$ {
    let base = at / 4u * 21u;
    let high = base + at % 4u * 4u;
    let scales = base + 16u + at % 4u / 2u * 2u;
    return Unit$(wq$[2u * at], wq$[2u * at + 1u], vec4u(ws$[high], ws$[high + 1u], ws$[high + 2u], ws$[high + 3u]),
                 vec2u(ws$[scales], ws$[scales + 1u]), ws$[base + 20u]);
}

fn part$(nibbles: vec4u, high: vec4u, scale: i32, x: vec4u, s: vec2f) -> f32 {
    let q = (nibbles & vec4u(0x0f0f0f0fu)) | ((high & vec4u(0x03030303u)) << vec4u(4u));
    return f32(scale) * (s.x * f32(dot_bytes(q, x)) - 32.0 * s.y);
}

fn dot_unit$(w: Unit$, u: u32, in: Input) -> f32 {
    let even = vec4u(w.a.xy, w.b.xy);
    let odd = vec4u(w.a.zw, w.b.zw);
    let up = 24u - u % 2u * 8u; // brings this unit's scale bytes to the top: bytes u % 2 and u % 2 + 2 of each word
    let near = vec2i(w.scales << vec2u(up)) >> vec2u(24u);
    let far = vec2i(w.scales << vec2u(up - 16u)) >> vec2u(24u);
    return unpack2x16float(w.d).x * (part$(even, w.high, near.x, in.bytes[0], in.scale[0]) + part$(odd, w.high >> vec4u(2u), far.x, in.bytes[1], in.scale[1]) +
           part$(even >> vec4u(4u), w.high >> vec4u(4u), near.y, in.bytes[2], in.scale[2]) + part$(odd >> vec4u(4u), w.high >> vec4u(6u), far.y, in.bytes[3], in.scale[3]));
}
