// Q5_0 against packed activations; the matrix as format_q5_0.wgsl has it. A unit is 64 columns of a row: two blocks.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<u32>;
struct Unit$ { a: vec4u, b: vec4u, high_a: u32, high_b: u32, scales: u32 }
const IN_ORDER$ = true;
const FINE$ = false;

fn place_of$(u: u32, k: u32) -> vec2u { return vec2u(k, u); }

fn load_unit$(at: u32) -> Unit$ { return Unit$(wq$[2u * at], wq$[2u * at + 1u], ws$[3u * at], ws$[3u * at + 1u], ws$[3u * at + 2u]); }

// Nibbles with a bit each of the low half of `high` above them, in order: four bits are spread over a word's bytes.
fn five$(nibbles: vec4u, high: u32) -> vec4u {
    let fours = vec4u(high, high >> 4u, high >> 8u, high >> 12u) & vec4u(15u);
    return (nibbles & vec4u(0x0f0f0f0fu)) | (((fours * 0x00204081u) & vec4u(0x01010101u)) << vec4u(4u));
}

fn dot_unit$(w: Unit$, u: u32, in: Input) -> f32 {
    let d = unpack2x16float(w.scales);
    let first = in.scale[0].x * f32(dot_bytes(five$(w.a, w.high_a), in.bytes[0])) + in.scale[1].x * f32(dot_bytes(five$(w.a >> vec4u(4u), w.high_a >> 16u), in.bytes[1]));
    let next = in.scale[2].x * f32(dot_bytes(five$(w.b, w.high_b), in.bytes[2])) + in.scale[3].x * f32(dot_bytes(five$(w.b >> vec4u(4u), w.high_b >> 16u), in.bytes[3]));
    return d.x * (first - 16.0 * (in.scale[0].y + in.scale[1].y)) + d.y * (next - 16.0 * (in.scale[2].y + in.scale[3].y));
}
