// Q4_0: blocks of 32, value d (q - 8).
// wq: one vec4u a block; ws: f16 scales.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq[block];
    let d = half_at(block);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        out[i] = d * (low_nibbles(q[i]) - 8.0);
        out[i + 4u] = d * (high_nibbles(q[i]) - 8.0);
    }
    return out;
}
