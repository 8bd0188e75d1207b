// Q5_1: blocks of 32, value d q + m, the fifth bits apart.
// wq: one vec4u a block; ws: fifth bits, then (d, m) f16, a block.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn four$(q: u32, dm: vec2f) -> vec4f { return dm.x * PLACES * in_place(q) + dm.y; }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq$[block];
    let h = ws$[2u * block];
    let dm = unpack2x16float(ws$[2u * block + 1u]);
    return array<vec4f, 8>(
        four$(low_nibbles(q.x) | fifth_bits$(h, 0u), dm), four$(low_nibbles(q.y) | fifth_bits$(h, 4u), dm),
        four$(low_nibbles(q.z) | fifth_bits$(h, 8u), dm), four$(low_nibbles(q.w) | fifth_bits$(h, 12u), dm),
        four$(high_nibbles(q.x) | fifth_bits$(h, 16u), dm), four$(high_nibbles(q.y) | fifth_bits$(h, 20u), dm),
        four$(high_nibbles(q.z) | fifth_bits$(h, 24u), dm), four$(high_nibbles(q.w) | fifth_bits$(h, 28u), dm));
}
