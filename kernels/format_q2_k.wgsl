// Q2_K: super-blocks of 256, value d sc q - dmin m for sub-blocks of 16.
// A weight matrix on the device is two arrays, repacked at load: wq holds quants, ws scales and the like. A chunk is 32
// elements of a row: load_chunk gives them as eight vec4f, element_group(c, j) says which four columns (as an index of
// vec4f) the j-th of them are. wq: eight vec2u a super-block, one a chunk; ws: five words: 16 bytes of scale and min, d and dmin.
// Bindings 0 and 1 belong to the weight; a kernel's own begin at 2.
@group(0) @binding(0) var<storage, read> wq: array<vec2u>;
@group(0) @binding(1) var<storage, read> ws: array<u32>;

// A chunk is 8 columns at l, l + 32, l + 64, l + 96 of a half of 128: c = 8 block + 4 half + l / 8.
fn element_group(c: u32, j: u32) -> u32 { return c / 4u * 32u + c % 4u * 2u + j % 2u + j / 2u * 8u; }
fn two_bits(w: u32, shift: u32) -> vec4f { return vec4f((vec4u(w, w >> 8u, w >> 16u, w >> 24u) >> vec4u(shift)) & vec4u(3u)); }

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq[at];
    let base = at / 8u * 5u;
    let d = unpack2x16float(ws[base + 4u]);
    let first = at % 8u / 4u * 8u + at % 4u / 2u; // sub-block of the columns at l; each 32 further is 2 on
    var out: array<vec4f, 8>;
    for (var part = 0u; part < 4u; part++) {
        let s = first + 2u * part;
        let both = (ws[base + s / 4u] >> (s % 4u * 8u)) & 255u;
        let scale = d.x * f32(both & 15u);
        let low = d.y * f32(both >> 4u);
        out[2u * part] = scale * two_bits(q.x, 2u * part) - low;
        out[2u * part + 1u] = scale * two_bits(q.y, 2u * part) - low;
    }
    return out;
}
