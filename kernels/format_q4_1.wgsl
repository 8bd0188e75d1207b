// Q4_1: blocks of 32, value d q + m.
// wq: one vec4u a block; ws: (d, m) f16 a word.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn four$(q: u32, dm: vec2f) -> vec4f { return dm.x * PLACES * in_place(q) + dm.y; }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq$[block];
    let dm = unpack2x16float(ws$[block]);
    return array<vec4f, 8>(
        four$(low_nibbles(q.x), dm), four$(low_nibbles(q.y), dm), four$(low_nibbles(q.z), dm), four$(low_nibbles(q.w), dm),
        four$(high_nibbles(q.x), dm), four$(high_nibbles(q.y), dm), four$(high_nibbles(q.z), dm), four$(high_nibbles(q.w), dm));
}
