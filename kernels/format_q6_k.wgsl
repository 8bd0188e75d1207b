// Q6_K: super-blocks of 256, value d sc (q - 32) for sub-blocks of 16.
// wq: eight vec4u a super-block, one a chunk: 8 bytes of ql at l, 8 at l + 32; ws: 21 words: high bits (two words a chunk), 16
// scales, d.
@group(0) @binding(WQ$) var<storage, read> wq$: array<vec4u,#QUANTS#>;

// Four columns: nibbles, two more bits, and a scale, the byte of `scales` at `shift`.
fn four$(nibbles: u32, bits: u32, scale: f32) -> vec4f {
    return scale * PLACES * (in_place(nibbles | (bits << 4u)) - 32.0 / PLACES);
}
fn scale_at$(scales: u32, shift: u32) -> f32 { return f32(i32(scales << (24u - shift)) >> 24u); }

fn load_chunk$(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq$[at];
    let base = (at >> 3u) * 21u;
    let a = ws$[base + (c & 7u) * 2u];
    let b = ws$[base + (c & 7u) * 2u + 1u];
    let scales = base + 16u + ((c >> 2u) & 1u) * 2u;
    let low = ws$[scales];      // of the columns at l and l + 32
    let high = ws$[scales + 1u]; // l + 64, l + 96
    let shift = ((c >> 1u) & 1u) * 8u;
    let d = unpack2x16float(ws$[base + 20u]).x;
    let s = d * vec4f(scale_at$(low, shift), scale_at$(low, shift + 16u), scale_at$(high, shift), scale_at$(high, shift + 16u));
    return array<vec4f, 8>(
        four$(low_nibbles(q.x), two_bits$(a, 0u), s.x), four$(low_nibbles(q.y), two_bits$(b, 0u), s.x),
        four$(low_nibbles(q.z), two_bits$(a, 2u), s.y), four$(low_nibbles(q.w), two_bits$(b, 2u), s.y),
        four$(high_nibbles(q.x), two_bits$(a, 4u), s.z), four$(high_nibbles(q.y), two_bits$(b, 4u), s.z),
        four$(high_nibbles(q.z), two_bits$(a, 6u), s.w), four$(high_nibbles(q.w), two_bits$(b, 6u), s.w));
}
