// Q8_0: blocks of 32, value d q.
// wq: two vec4u a block; ws: f16 scales.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn four$(w: u32, d: f32) -> vec4f { return d * vec4f(vec4i(vec4u(w << 24u, w << 16u, w << 8u, w)) >> vec4u(24u)); }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let d = half_at$(block);
    let a = wq$[2u * block];
    let b = wq$[2u * block + 1u];
    return array<vec4f, 8>(four$(a.x, d), four$(a.y, d), four$(a.z, d), four$(a.w, d),
                           four$(b.x, d), four$(b.y, d), four$(b.z, d), four$(b.w, d));
}
