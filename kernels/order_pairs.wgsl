// Q4_K and Q5_K: a chunk is 16 low and 16 high nibbles of the same bytes: columns 64 g + 16 h + 0..15 and 32 further,
// c = 8 block + 2 g + h.
fn element_group(c: u32, j: u32) -> u32 { return c / 2u * 16u + c % 2u * 4u + j % 4u + j / 4u * 8u; }

// Sub-block s of 8: 6-bit scale and min out of the 12 bytes behind d and dmin, times d and dmin.
fn byte_at(word: u32, i: u32) -> u32 { return (ws[word + i / 4u] >> (i % 4u * 8u)) & 255u; }
fn scale_min(header: u32, s: u32) -> vec2f {
    let d = unpack2x16float(ws[header]);
    var sc: u32;
    var m: u32;
    if (s < 4u) {
        sc = byte_at(header + 1u, s) & 63u;
        m = byte_at(header + 1u, s + 4u) & 63u;
    } else {
        let both = byte_at(header + 1u, s + 4u);
        sc = (both & 15u) | ((byte_at(header + 1u, s - 4u) >> 6u) << 4u);
        m = (both >> 4u) | ((byte_at(header + 1u, s) >> 6u) << 4u);
    }
    return d * vec2f(f32(sc), f32(m));
}
