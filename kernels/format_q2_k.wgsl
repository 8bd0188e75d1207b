// Q2_K: super-blocks of 256, value d sc q - dmin m for sub-blocks of 16.
// wq: eight vec2u a super-block, one a chunk; ws: five words: 16 bytes of scale and min, d and dmin.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec2u,#QUANTS#>;

// Scale and min, the nibbles of the byte of `both` at `shift`, times d and dmin.
fn scale_min$(both: u32, shift: u32, d: vec2f) -> vec2f {
    let byte = both >> shift;
    return d * vec2f(vec2i(vec2u(byte & 15u, (byte >> 4u) & 15u)));
}
fn four$(q: u32, s: vec2f) -> vec4f { return s.x * PLACES * in_place(q) - s.y; }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq$[at];
    let base = (at >> 3u) * 5u;
    let d = unpack2x16float(ws$[base + 4u]);
    let scales = base + ((c >> 2u) & 1u) * 2u;
    let low = ws$[scales];      // of the columns at l and l + 32
    let high = ws$[scales + 1u]; // l + 64, l + 96
    let shift = ((c >> 1u) & 1u) * 8u;
    let s0 = scale_min$(low, shift, d);
    let s1 = scale_min$(low, shift + 16u, d);
    let s2 = scale_min$(high, shift, d);
    let s3 = scale_min$(high, shift + 16u, d);
    return array<vec4f, 8>(four$(two_bits$(q.x, 0u), s0), four$(two_bits$(q.y, 0u), s0), four$(two_bits$(q.x, 2u), s1), four$(two_bits$(q.y, 2u), s1),
                           four$(two_bits$(q.x, 4u), s2), four$(two_bits$(q.y, 4u), s2), four$(two_bits$(q.x, 6u), s3), four$(two_bits$(q.y, 6u), s3));
}
