// F32.
// wq: eight vec4u a chunk, as stored.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4f,#QUANTS#>;

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = (row * chunks + c) * 8u;
    return array<vec4f, 8>(wq$[at], wq$[at + 1u], wq$[at + 2u], wq$[at + 3u], wq$[at + 4u], wq$[at + 5u], wq$[at + 6u], wq$[at + 7u]);
}
