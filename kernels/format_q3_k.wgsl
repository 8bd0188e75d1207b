// Q3_K: super-blocks of 256, value d (sc - 32) (q - 4) for sub-blocks of 16, the third bits apart.
// wq: eight vec2u a super-block, one a chunk; ws: twelve words: eight of third bits, three of scales, d.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec2u,#QUANTS#>;

// Scales of the parts: nibbles of `low`, two more bits of `high`, both at `shift` and 16 further.
fn scales_of$(low: u32, high: u32, d: f32) -> vec2f {
    let s = (low & 0x000f000fu) | ((high & 0x00030003u) << 4u);
    return d * (vec2f(vec2i(vec2u(s & 0xffffu, s >> 16u))) - 32.0);
}
// q - 4 of four columns: two bits, and a third as the lowest bit of each byte of h.
fn four$(q: u32, h: u32, scale: f32) -> vec4f {
    return scale * PLACES * (in_place(q | ((h & 0x01010101u) << 2u)) - 4.0 / PLACES);
}

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq$[at];
    let base = (at >> 3u) * 12u;
    let d = unpack2x16float(ws$[base + 11u]).x;
    let half = (c >> 2u) & 1u;
    let a = ws$[base + (c & 3u) * 2u] >> (half * 4u);
    let b = ws$[base + (c & 3u) * 2u + 1u] >> (half * 4u);
    let shift = ((c >> 1u) & 1u) * 8u; // of the byte with the scale of the columns at l; 32 further it is two bytes on
    let nibble = shift + half * 4u;
    let bits = ws$[base + 10u] >> (shift + half * 4u);
    let s = scales_of$(ws$[base + 8u] >> nibble, bits, d);
    let t = scales_of$(ws$[base + 9u] >> nibble, bits >> 2u, d);
    return array<vec4f, 8>(four$(two_bits$(q.x, 0u), a, s.x), four$(two_bits$(q.y, 0u), b, s.x),
                           four$(two_bits$(q.x, 2u), a >> 1u, s.y), four$(two_bits$(q.y, 2u), b >> 1u, s.y),
                           four$(two_bits$(q.x, 4u), a >> 2u, t.x), four$(two_bits$(q.y, 4u), b >> 2u, t.x),
                           four$(two_bits$(q.x, 6u), a >> 3u, t.y), four$(two_bits$(q.y, 6u), b >> 3u, t.y));
}
