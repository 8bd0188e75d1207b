// BF16.
// wq: four vec4u a chunk, as stored.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn four(a: u32, b: u32) -> vec4f { return vec4f(bitcast<f32>(a << 16u), bitcast<f32>(a & 0xffff0000u), bitcast<f32>(b << 16u), bitcast<f32>(b & 0xffff0000u)); }

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = (row * chunks + c) * 4u;
    let x = wq[at];
    let y = wq[at + 1u];
    let z = wq[at + 2u];
    let w = wq[at + 3u];
    return array<vec4f, 8>(four(x.x, x.y), four(x.z, x.w), four(y.x, y.y), four(y.z, y.w),
                           four(z.x, z.y), four(z.z, z.w), four(w.x, w.y), four(w.z, w.w));
}
