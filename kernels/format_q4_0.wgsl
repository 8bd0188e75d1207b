// Q4_0: blocks of 32, value d (q - 8).
// wq: one vec4u a block; ws: f16 scales.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn four$(q: u32, d: f32) -> vec4f { return d * PLACES * (in_place(q) - 8.0 / PLACES); }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq$[block];
    let d = half_at$(block);
    return array<vec4f, 8>(
        four$(low_nibbles(q.x), d), four$(low_nibbles(q.y), d), four$(low_nibbles(q.z), d), four$(low_nibbles(q.w), d),
        four$(high_nibbles(q.x), d), four$(high_nibbles(q.y), d), four$(high_nibbles(q.z), d), four$(high_nibbles(q.w), d));
}
