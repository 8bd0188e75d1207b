// F32.
// wq: eight vec4u a chunk, as stored.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = (row * chunks + c) * 8u;
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 8u; i++) { out[i] = bitcast<vec4f>(wq[at + i]); }
    return out;
}
