// Q5_K: as Q4_K with a fifth bit apart.
// wq: eight vec4u a super-block; ws: twelve words: d, dmin, scales, then 32 bytes of fifth bits.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn bit_of_bytes(w: u32, bit: u32) -> vec4f { return vec4f(((bytes_of(w) >> vec4u(bit)) & vec4u(1u)) * 16u); }

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq[at];
    let header = at / 8u * 12u;
    let s = c % 8u / 2u * 2u;
    let low = scale_min(header, s);
    let high = scale_min(header, s + 1u);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        let h = ws[header + 4u + c % 2u * 4u + i];
        out[i] = low.x * (low_nibbles(q[i]) + bit_of_bytes(h, s)) - low.y;
        out[i + 4u] = high.x * (high_nibbles(q[i]) + bit_of_bytes(h, s + 1u)) - high.y;
    }
    return out;
}
