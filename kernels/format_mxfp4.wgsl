// MXFP4: blocks of 32 E2M1 values with a shared E8M0 exponent.
// wq: one vec4u a block; ws: exponents, four to a word.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

// E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
fn fp4$(nibble: vec4u) -> vec4f {
    let m = nibble & vec4u(7u);
    let normal = bitcast<vec4f>((((m >> vec4u(1u)) + 126u) << vec4u(23u)) | ((m & vec4u(1u)) << vec4u(22u)));
    let magnitude = select(normal, 0.5 * vec4f(m), m < vec4u(2u));
    return select(magnitude, -magnitude, nibble >= vec4u(8u));
}
fn four$(w: u32, d: f32) -> vec4f { return d * fp4$(vec4u(w, w >> 8u, w >> 16u, w >> 24u) & vec4u(15u)); }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let block = row * chunks + c;
    let q = wq$[block];
    let h = q >> vec4u(4u);
    let e = (ws$[block >> 2u] >> ((block & 3u) * 8u)) & 255u;
    let d = bitcast<f32>(e << 23u); // e is 0 only for values below 2^-126, which become 0
    return array<vec4f, 8>(four$(q.x, d), four$(q.y, d), four$(q.z, d), four$(q.w, d), four$(h.x, d), four$(h.y, d), four$(h.z, d), four$(h.w, d));
}
