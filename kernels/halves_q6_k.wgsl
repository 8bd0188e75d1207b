// Q6_K for the matrix units, as halves.wgsl: two values at once become f16 by standing behind the bits of 1024. Scales are
// rounded to f16, as the weights themselves would be. Behind format_q6_k.wgsl.
struct Raw { quants: vec4u, high: vec2u, scales: vec2u, d: u32, c: u32 }

fn in_order(x: vec4f) -> vec4f { return x.xzyw; }

fn fetch_chunk(row: u32, chunks: u32, c: u32) -> Raw {
    let at = row * chunks + c;
    let base = at / 8u * 21u;
    let in_block = c % 8u;
    let scales = base + 16u + in_block / 4u * 2u;
    return Raw(wq[at], vec2u(ws[base + 2u * in_block], ws[base + 2u * in_block + 1u]), vec2u(ws[scales], ws[scales + 1u]), ws[base + 20u], in_block);
}

// Bytes 0 and 2 of the low and of the high bits, which stand at bits 0 and 4 of each byte.
fn weights(low: u32, high: u32, scale: f16) -> u32 {
    let q = bitcast<vec2<f16>>((low & 0x000f000fu) | (high & 0x00300030u) | 0x64006400u) - vec2<f16>(1056.0h);
    return bitcast<u32>(q * vec2<f16>(scale));
}

// Eight columns of a part: low nibbles of two words with their high bits.
fn eight(low: vec2u, high: vec2u, scale: f16) -> vec4u {
    return vec4u(weights(low.x, high.x, scale), weights(low.x >> 8u, high.x >> 8u, scale),
                 weights(low.y, high.y, scale), weights(low.y >> 8u, high.y >> 8u, scale));
}

fn halves_of(raw: Raw) -> array<vec4u, 4> {
    let d = unpack2x16float(raw.d).x;
    let shift = raw.c % 4u / 2u * 8u; // the scale of columns at l; each 32 further is two bytes on
    let a = vec2i(raw.scales << vec2u(24u - shift)) >> vec2u(24u);
    let b = vec2i(raw.scales << vec2u(8u - shift)) >> vec2u(24u);
    let q = raw.quants;
    let h = raw.high;
    return array<vec4u, 4>(eight(q.xy, h << vec2u(4u), f16(d * f32(a.x))), eight(q.zw, h << vec2u(2u), f16(d * f32(b.x))),
                           eight(q.xy >> vec2u(4u), h, f16(d * f32(a.y))), eight(q.zw >> vec2u(4u), h >> vec2u(2u), f16(d * f32(b.y))));
}
