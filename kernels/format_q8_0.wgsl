// Q8_0: blocks of 32, value d q.
// wq: two vec4u a block; ws: f16 scales.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn signed_bytes(w: u32) -> vec4f { return vec4f(vec4i(vec4u(w << 24u, w << 16u, w << 8u, w)) >> vec4u(24u)); }

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let d = half_at(block);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 8u; i++) { out[i] = d * signed_bytes(wq[2u * block + i / 4u][i % 4u]); }
    return out;
}
