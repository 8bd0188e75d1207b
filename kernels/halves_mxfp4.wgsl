// MXFP4 for the matrix units, as halves.wgsl: an E2M1 value's bits, moved, are those of an f16 2^14 times smaller. Exact
// where weight and scale are f16. Behind format_mxfp4.wgsl.
struct Raw { quants: vec4u, exponent: u32 }

fn in_order(x: vec4f) -> vec4f { return x.xzyw; }

fn fetch_chunk(row: u32, chunks: u32, c: u32) -> Raw {
    let block = row * chunks + c;
    return Raw(wq[block], (ws[block / 4u] >> (block % 4u * 8u)) & 255u);
}

// Nibbles at bits 0 and 16.
fn weights(w: u32, scale: f16) -> u32 {
    let small = bitcast<vec2<f16>>(((w & 0x00070007u) << 9u) | ((w & 0x00080008u) << 12u));
    return bitcast<u32>(small * vec2<f16>(16384.0h) * vec2<f16>(scale));
}

fn eight(a: u32, b: u32, scale: f16) -> vec4u {
    return vec4u(weights(a, scale), weights(a >> 8u, scale), weights(b, scale), weights(b >> 8u, scale));
}

fn halves_of(raw: Raw) -> array<vec4u, 4> {
    let d = f16(bitcast<f32>(clamp(raw.exponent, 103u, 142u) << 23u)); // 2^-24 to 2^15
    let q = raw.quants;
    let h = raw.quants >> vec4u(4u);
    return array<vec4u, 4>(eight(q.x, q.y, d), eight(q.z, q.w, d), eight(h.x, h.y, d), eight(h.z, h.w, d));
}
