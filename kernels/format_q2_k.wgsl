// Q2_K: super-blocks of 256, value d sc q - dmin m for sub-blocks of 16.
// wq: eight vec2u a super-block, one a chunk; ws: five words: 16 bytes of scale and min, d and dmin.
@group(0) @binding(0) var<storage, read> wq: array<vec2u>;

fn two_bits(w: u32, shift: u32) -> vec4f { return vec4f((bytes_of(w) >> vec4u(shift)) & vec4u(3u)); }

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
