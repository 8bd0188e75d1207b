// Q3_K: super-blocks of 256, value d (sc - 32) (q - 4) for sub-blocks of 16, the third bits apart.
// wq: eight vec2u a super-block, one a chunk; ws: twelve words: eight of third bits, three of scales, d.
@group(0) @binding(0) var<storage, read> wq: array<vec2u>;

// q - 4: two bits of w, the third out of h.
fn three_bits(w: u32, h: u32, shift: u32, bit: u32) -> vec4f {
    let low = (bytes_of(w) >> vec4u(shift)) & vec4u(3u);
    let high = (bytes_of(h) >> vec4u(bit)) & vec4u(1u);
    return vec4f(vec4i(low | (high << vec4u(2u))) - vec4i(4));
}

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq[at];
    let base = at / 8u * 12u;
    let d = unpack2x16float(ws[base + 11u]).x;
    let h = base + at % 4u * 2u;
    let half = at % 8u / 4u;
    let first = half * 8u + at % 4u / 2u; // sub-block of the columns at l; each 32 further is 2 on
    var out: array<vec4f, 8>;
    for (var part = 0u; part < 4u; part++) {
        let s = first + 2u * part;
        let low = (ws[base + 8u + s % 8u / 4u] >> (s % 4u * 8u + s / 8u * 4u)) & 15u;
        let high = (ws[base + 10u] >> (s % 4u * 8u + s / 4u * 2u)) & 3u;
        let scale = d * (f32(low | (high << 4u)) - 32.0);
        out[2u * part] = scale * three_bits(q.x, ws[h], 2u * part, 4u * half + part);
        out[2u * part + 1u] = scale * three_bits(q.y, ws[h + 1u], 2u * part, 4u * half + part);
    }
    return out;
}
