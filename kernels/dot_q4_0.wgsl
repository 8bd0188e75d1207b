// Q4_0 against packed activations; the matrix as format_q4_0.wgsl has it. A unit is 64 columns of a row: two blocks.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<u32>;
struct Unit$ { a: vec4u, b: vec4u, scales: u32 }
const IN_ORDER$ = true;
const FINE$ = false;

fn place_of$(u: u32, k: u32) -> vec2u { return vec2u(k, u); }

fn load_unit$(at: u32) -> Unit$ { return Unit$(wq$[2u * at], wq$[2u * at + 1u], ws$[at]); }

fn dot_unit$(w: Unit$, u: u32, in: Input) -> f32 {
    let d = unpack2x16float(w.scales);
    let mask = vec4u(0x0f0f0f0fu);
    let first = in.scale[0].x * f32(dot_bytes(w.a & mask, in.bytes[0])) + in.scale[1].x * f32(dot_bytes((w.a >> vec4u(4u)) & mask, in.bytes[1]));
    let next = in.scale[2].x * f32(dot_bytes(w.b & mask, in.bytes[2])) + in.scale[3].x * f32(dot_bytes((w.b >> vec4u(4u)) & mask, in.bytes[3]));
    return d.x * (first - 8.0 * (in.scale[0].y + in.scale[1].y)) + d.y * (next - 8.0 * (in.scale[2].y + in.scale[3].y));
}
