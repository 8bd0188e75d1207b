// Q5_1: blocks of 32, value d q + m, the fifth bits apart.
// wq: one vec4u a block; ws: fifth bits, then (d, m) f16, a block.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq[block];
    let h = ws[2u * block];
    let dm = unpack2x16float(ws[2u * block + 1u]);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        out[i] = dm.x * (low_nibbles(q[i]) + fifth_bits(h, 4u * i)) + dm.y;
        out[i + 4u] = dm.x * (high_nibbles(q[i]) + fifth_bits(h, 16u + 4u * i)) + dm.y;
    }
    return out;
}
