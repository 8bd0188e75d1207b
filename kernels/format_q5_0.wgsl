// Q5_0: blocks of 32, value d (q - 16), the fifth bits apart.
// wq: one vec4u a block; ws: three words for two blocks: fifth bits of each, f16 scales.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

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
