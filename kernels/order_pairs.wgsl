// Q4_K and Q5_K: a chunk is 16 low and 16 high nibbles of the same bytes: columns 64 g + 16 h + 0..15 and 32 further,
// c = 8 block + 2 g + h.
@group(0) @binding(WS$) var<storage, read> ws$: array<vec4u,#SCALES#>;

fn element_group$(c: u32, j: u32) -> u32 { return (c >> 1u) * 16u + (c & 1u) * 4u + (j & 3u) + (j >> 2u) * 8u; }

// Of a header (d and dmin, 12 bytes of scales) the scale and min of the low nibbles' sub-block, then of the high nibbles'.
fn scales_of$(h: vec4u, c: u32) -> vec4f {
    let shift = ((c >> 1u) & 1u) * 16u;
    var sc = (h.y >> shift) & 0x3f3fu;
    var m = (h.z >> shift) & 0x3f3fu;
    if ((c & 4u) != 0u) {
        let both = h.w >> shift;
        sc = (both & 0x0f0fu) | (((h.y >> shift) & 0xc0c0u) >> 2u);
        m = ((both >> 4u) & 0x0f0fu) | (((h.z >> shift) & 0xc0c0u) >> 2u);
    }
    let d = unpack2x16float(h.x);
    return d.xyxy * vec4f(vec4i(vec4u(sc & 255u, m & 255u, sc >> 8u, m >> 8u)));
}
