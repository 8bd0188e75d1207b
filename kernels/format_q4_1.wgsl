// Q4_1: blocks of 32, value d q + m.
// wq: one vec4u a block; ws: (d, m) f16 a word.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq[block];
    let dm = unpack2x16float(ws[block]);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        out[i] = dm.x * low_nibbles(q[i]) + dm.y;
        out[i + 4u] = dm.x * high_nibbles(q[i]) + dm.y;
    }
    return out;
}
