// Q8_0 against packed activations; the matrix as format_q8_0.wgsl has it. A unit is 64 columns of a row: two blocks.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<u32>;
struct Unit$ { a: vec4u, b: vec4u, c: vec4u, d: vec4u, scales: u32 }
const IN_ORDER$ = true;
const FINE$ = false;

fn place_of$(u: u32, k: u32) -> vec2u { return vec2u(k, u); }

fn load_unit$(at: u32) -> Unit$ { return Unit$(wq$[4u * at], wq$[4u * at + 1u], wq$[4u * at + 2u], wq$[4u * at + 3u], ws$[at]); }

fn dot_unit$(w: Unit$, u: u32, in: Input) -> f32 {
    let d = unpack2x16float(w.scales);
    return d.x * (in.scale[0].x * f32(dot_bytes(w.a, in.bytes[0])) + in.scale[1].x * f32(dot_bytes(w.b, in.bytes[1]))) +
           d.y * (in.scale[2].x * f32(dot_bytes(w.c, in.bytes[2])) + in.scale[3].x * f32(dot_bytes(w.d, in.bytes[3])));
}
