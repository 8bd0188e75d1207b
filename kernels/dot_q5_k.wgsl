// Q5_K against packed activations; the matrix as format_q5_k.wgsl has it. A unit is 64 columns of a row: two sub-blocks.
@group(0) @binding(2 * $) var<storage, read> wq$: array<vec4u>;
@group(0) @binding(2 * $ + 1) var<storage, read> ws$: array<vec4u>;
struct Unit$ { a: vec4u, b: vec4u, header: vec4u, high_a: vec4u, high_b: vec4u }
const IN_ORDER$ = true;
const FINE$ = false;

fn place_of$(u: u32, k: u32) -> vec2u { return vec2u(k, u); }

fn load_unit$(at: u32) -> Unit$ {
    let header = at / 4u * 3u;
    return Unit$(wq$[2u * at], wq$[2u * at + 1u], ws$[header], ws$[header + 1u], ws$[header + 2u]);
}

// Nibbles with bit `bit` of the bytes of `high` above them.
fn five$(nibbles: vec4u, high: vec4u, bit: u32) -> vec4u {
    return (nibbles & vec4u(0x0f0f0f0fu)) | (((high >> vec4u(bit)) & vec4u(0x01010101u)) << vec4u(4u));
}

fn dot_unit$(w: Unit$, u: u32, in: Input) -> f32 {
    // two 6-bit scales and mins at once, in the low bytes of their halves
    let shift = u % 2u * 16u;
    let low = (w.header.yz >> vec2u(shift)) & vec2u(0xffffu);
    let both = w.header.w >> shift;
    let top = (vec2u(both, both >> 4u) & vec2u(0x0f0fu)) | ((low & vec2u(0xc0c0u)) >> vec2u(2u));
    let scales = select(low & vec2u(0x3f3fu), top, u % 4u >= 2u);
    let d = unpack2x16float(w.header.x);
    let bit = u % 4u * 2u;
    let first = in.scale[0].x * f32(dot_bytes(five$(w.a, w.high_a, bit), in.bytes[0])) + in.scale[1].x * f32(dot_bytes(five$(w.b, w.high_b, bit), in.bytes[1]));
    let next = in.scale[2].x * f32(dot_bytes(five$(w.a >> vec4u(4u), w.high_a, bit + 1u), in.bytes[2])) +
               in.scale[3].x * f32(dot_bytes(five$(w.b >> vec4u(4u), w.high_b, bit + 1u), in.bytes[3]));
    let sums = vec2f(in.scale[0].y + in.scale[1].y, in.scale[2].y + in.scale[3].y);
    return d.x * (f32(scales.x & 255u) * first + f32(scales.x >> 8u) * next) -
           d.y * (f32(scales.y & 255u) * sums.x + f32(scales.y >> 8u) * sums.y);
}
