// What stands before an order_*.wgsl and a format_*.wgsl. A weight matrix on the device is two arrays, repacked at load
// (gpu/repack.c): wq holds quants, ws scales and the like; the format says how. A chunk is 32 elements of a row: the format's
// load_chunk gives them as eight vec4f, the order's element_group(c, j) says which four columns (as an index of vec4f) the
// j-th of them are. Bindings 0 and 1 belong to the weight, wq's type to its format; a kernel's own bindings begin at 2.
@group(0) @binding(1) var<storage, read> ws: array<u32>;

fn bytes_of(w: u32) -> vec4u { return vec4u(w, w >> 8u, w >> 16u, w >> 24u); } // each in the low bits
fn low_nibbles(w: u32) -> vec4f { return vec4f(bytes_of(w) & vec4u(15u)); }
fn high_nibbles(w: u32) -> vec4f { return low_nibbles(w >> 4u); }

// Bits first .. first + 3 of h as 16 or 0.
fn fifth_bits(h: u32, first: u32) -> vec4f {
    return vec4f(((vec4u(h) >> (vec4u(first) + vec4u(0u, 1u, 2u, 3u))) & vec4u(1u)) * 16u);
}

// f16 scales, two to a word.
fn half_at(i: u32) -> f32 {
    let both = unpack2x16float(ws[i / 2u]);
    return select(both.x, both.y, (i & 1u) == 1u);
}
