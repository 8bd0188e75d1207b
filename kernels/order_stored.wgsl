// A chunk is 32 columns in order, four vec4u of floats in 16 bits as stored; the format's four() makes four of them f32.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn element_group$(c: u32, j: u32) -> u32 { return c * 8u + j; }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = (row * chunks + c) * 4u;
    let x = wq$[at];
    let y = wq$[at + 1u];
    let z = wq$[at + 2u];
    let w = wq$[at + 3u];
    return array<vec4f, 8>(four$(x.x, x.y), four$(x.z, x.w), four$(y.x, y.y), four$(y.z, y.w),
                           four$(z.x, z.y), four$(z.z, z.w), four$(w.x, w.y), four$(w.z, w.w));
}
