// Q5_0: blocks of 32, value d (q - 16), the fifth bits apart.
// wq: one vec4u a block; ws: three words for two blocks: fifth bits of each, f16 scales.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn four$(q: u32, d: f32) -> vec4f { return d * PLACES * (in_place(q) - 16.0 / PLACES); }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq$[block];
    let pair = (block >> 1u) * 3u;
    let odd = block & 1u;
    let h = ws$[pair + odd];
    let both = unpack2x16float(ws$[pair + 2u]);
    let d = select(both.x, both.y, odd == 1u);
    return array<vec4f, 8>(
        four$(low_nibbles(q.x) | fifth_bits$(h, 0u), d), four$(low_nibbles(q.y) | fifth_bits$(h, 4u), d),
        four$(low_nibbles(q.z) | fifth_bits$(h, 8u), d), four$(low_nibbles(q.w) | fifth_bits$(h, 12u), d),
        four$(high_nibbles(q.x) | fifth_bits$(h, 16u), d), four$(high_nibbles(q.y) | fifth_bits$(h, 20u), d),
        four$(high_nibbles(q.z) | fifth_bits$(h, 24u), d), four$(high_nibbles(q.w) | fifth_bits$(h, 28u), d));
}
