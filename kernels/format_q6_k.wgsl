// Q6_K: super-blocks of 256, value d sc (q - 32) for sub-blocks of 16.
// wq: eight vec4u a super-block, one a chunk: 8 bytes of ql at l, 8 at l + 32; ws: 21 words: high bits (two words a chunk), 16
// scales, d.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn two_bits(w: u32, shift: u32) -> vec4f { return vec4f(((bytes_of(w) >> vec4u(shift)) & vec4u(3u)) * 16u); }

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq[at];
    let base = at / 8u * 21u;
    let in_block = c % 8u;
    let d = unpack2x16float(ws[base + 20u]).x;
    let first = in_block / 4u * 8u + in_block % 4u / 2u; // scale of the columns at l; each 32 further is 2 on
    var out: array<vec4f, 8>;
    for (var part = 0u; part < 4u; part++) {
        let s = first + 2u * part;
        let sc = d * f32(i32(ws[base + 16u + s / 4u] << (24u - s % 4u * 8u)) >> 24u);
        for (var i = 0u; i < 2u; i++) {
            let w = q[part % 2u * 2u + i] >> (part / 2u * 4u);
            out[2u * part + i] = sc * (low_nibbles(w) + two_bits(ws[base + 2u * in_block + i], 2u * part) - 32.0);
        }
    }
    return out;
}
