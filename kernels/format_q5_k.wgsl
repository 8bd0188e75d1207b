// Q5_K: as Q4_K with a fifth bit apart.
// wq: eight vec4u a super-block; ws: three: d, dmin, scales, then 32 bytes of fifth bits.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

fn low$(w: u32, fifth: u32, s: vec4f) -> vec4f { return s.x * PLACES * in_place(low_nibbles(w) | ((fifth & 0x01010101u) << 4u)) - s.y; }
fn high$(w: u32, fifth: u32, s: vec4f) -> vec4f { return s.z * PLACES * in_place(high_nibbles(w) | ((fifth & 0x02020202u) << 3u)) - s.w; }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq$[at];
    let header = (at >> 3u) * 3u;
    let s = scales_of$(ws$[header], c);
    let h = ws$[header + 1u + (c & 1u)] >> vec4u(c & 6u);
    return array<vec4f, 8>(low$(q.x, h.x, s), low$(q.y, h.y, s), low$(q.z, h.z, s), low$(q.w, h.w, s),
                           high$(q.x, h.x, s), high$(q.y, h.y, s), high$(q.z, h.z, s), high$(q.w, h.w, s));
}
