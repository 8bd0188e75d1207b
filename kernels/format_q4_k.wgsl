// Q4_K: super-blocks of 256, value d sc q - dmin m for sub-blocks of 32.
// wq: eight vec4u a super-block; ws: one (d, dmin, scales).
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn low$(w: u32, s: vec4f) -> vec4f { return s.x * PLACES * in_place(low_nibbles(w)) - s.y; }
fn high$(w: u32, s: vec4f) -> vec4f { return s.z * PLACES * in_place(high_nibbles(w)) - s.w; }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq$[at];
    let s = scales_of$(ws$[at >> 3u], c);
    return array<vec4f, 8>(low$(q.x, s), low$(q.y, s), low$(q.z, s), low$(q.w, s),
                           high$(q.x, s), high$(q.y, s), high$(q.z, s), high$(q.w, s));
}
