// Q4_K: super-blocks of 256, value d sc q - dmin m for sub-blocks of 32.
// wq: eight vec4u a super-block; ws: four words (d, dmin, scales).
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq[at];
    let header = at / 8u * 4u;
    let s = c % 8u / 2u * 2u;
    let low = scale_min(header, s);
    let high = scale_min(header, s + 1u);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        out[i] = low.x * low_nibbles(q[i]) - low.y;
        out[i + 4u] = high.x * high_nibbles(q[i]) - high.y;
    }
    return out;
}
