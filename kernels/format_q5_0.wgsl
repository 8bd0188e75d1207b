// Q5_0: blocks of 32, value d (q - 16), the fifth bits apart.
// A weight matrix on the device is two arrays, repacked at load: wq holds quants, ws scales and the like. A chunk is 32
// elements of a row: load_chunk gives them as eight vec4f, element_group(c, j) says which four columns (as an index of
// vec4f) the j-th of them are. wq: one vec4u a block; ws: three words for two blocks: fifth bits of each, f16 scales.
// Bindings 0 and 1 belong to the weight; a kernel's own begin at 2.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;
@group(0) @binding(1) var<storage, read> ws: array<u32>;

fn element_group(c: u32, j: u32) -> u32 { return c * 8u + j; }
fn low_nibbles(w: u32) -> vec4f { return vec4f(vec4u(w, w >> 8u, w >> 16u, w >> 24u) & vec4u(15u)); }
fn high_nibbles(w: u32) -> vec4f { return low_nibbles(w >> 4u); }
// Bits first .. first + 3 of h as 16 or 0.
fn fifth_bits(h: u32, first: u32) -> vec4f {
    return vec4f(((vec4u(h) >> (vec4u(first) + vec4u(0u, 1u, 2u, 3u))) & vec4u(1u)) * 16u);
}

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq[block];
    let pair = block / 2u * 3u;
    let odd = block & 1u;
    let h = ws[pair + odd];
    let both = unpack2x16float(ws[pair + 2u]);
    let d = select(both.x, both.y, odd == 1u);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        out[i] = d * (low_nibbles(q[i]) + fifth_bits(h, 4u * i) - 16.0);
        out[i + 4u] = d * (high_nibbles(q[i]) + fifth_bits(h, 16u + 4u * i) - 16.0);
    }
    return out;
}
