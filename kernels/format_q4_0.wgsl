// Q4_0: blocks of 32, value d (q - 8).
// A weight matrix on the device is two arrays, repacked at load: wq holds quants, ws scales and the like. A chunk is 32
// elements of a row: load_chunk gives them as eight vec4f, element_group(c, j) says which four columns (as an index of
// vec4f) the j-th of them are. wq: one vec4u a block; ws: f16 scales.
// Bindings 0 and 1 belong to the weight; a kernel's own begin at 2.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;
@group(0) @binding(1) var<storage, read> ws: array<u32>;

fn element_group(c: u32, j: u32) -> u32 { return c * 8u + j; }
fn low_nibbles(w: u32) -> vec4f { return vec4f(vec4u(w, w >> 8u, w >> 16u, w >> 24u) & vec4u(15u)); }
fn high_nibbles(w: u32) -> vec4f { return low_nibbles(w >> 4u); }
// Scales are f16, two to a word.
fn scale_of(block: u32) -> f32 {
    let both = unpack2x16float(ws[block / 2u]);
    return select(both.x, both.y, (block & 1u) == 1u);
}

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq[block];
    let d = scale_of(block);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        out[i] = d * (low_nibbles(q[i]) - 8.0);
        out[i + 4u] = d * (high_nibbles(q[i]) - 8.0);
    }
    return out;
}
