// Q4_K against packed activations; the matrix as format_q4_k.wgsl has it. A unit is 64 columns of a row: two sub-blocks.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<vec4u>;
struct Unit$ { a: vec4u, b: vec4u, header: vec4u }
const IN_ORDER$ = true;
const FINE$ = false;

fn place_of$(u: u32, k: u32) -> vec2u { return vec2u(k, u); }

fn load_unit$(at: u32) -> Unit$ { return Unit$(wq$[2u * at], wq$[2u * at + 1u], ws$[at / 4u]); }

fn dot_unit$(w: Unit$, u: u32, in: Input) -> f32 {
    // two 6-bit scales and mins at once, in the low bytes of their halves
    let shift = u % 2u * 16u;
    let low = (w.header.yz >> vec2u(shift)) & vec2u(0xffffu);
    let both = w.header.w >> shift;
    let high = (vec2u(both, both >> 4u) & vec2u(0x0f0fu)) | ((low & vec2u(0xc0c0u)) >> vec2u(2u));
    let scales = select(low & vec2u(0x3f3fu), high, u % 4u >= 2u);
    let d = unpack2x16float(w.header.x);
    let mask = vec4u(0x0f0f0f0fu);
    let first = in.scale[0].x * f32(dot_bytes(w.a & mask, in.bytes[0])) + in.scale[1].x * f32(dot_bytes(w.b & mask, in.bytes[1]));
    let next = in.scale[2].x * f32(dot_bytes((w.a >> vec4u(4u)) & mask, in.bytes[2])) + in.scale[3].x * f32(dot_bytes((w.b >> vec4u(4u)) & mask, in.bytes[3]));
    let sums = vec2f(in.scale[0].y + in.scale[1].y, in.scale[2].y + in.scale[3].y);
    return d.x * (f32(scales.x & 255u) * first + f32(scales.x >> 8u) * next) -
           d.y * (f32(scales.y & 255u) * sums.x + f32(scales.y >> 8u) * sums.y);
}
