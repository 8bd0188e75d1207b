// Q4_K for the matrix units, as halves.wgsl: two nibbles at once become f16 by standing behind the bits of 1024. Scales are
// rounded to f16, as the weights themselves would be. Behind format_q4_k.wgsl.
struct Raw { quants: vec4u, header: vec4u, c: u32 }

fn in_order(x: vec4f) -> vec4f { return x.xzyw; }

fn fetch_chunk(row: u32, chunks: u32, c: u32) -> Raw {
    let at = row * chunks + c;
    return Raw(wq[at], ws[at >> 3u], c);
}

fn weights(w: u32, mask: u32, scale: f16, low: f16) -> u32 {
    let q = bitcast<vec2<f16>>((w & mask) | 0x64006400u) - vec2<f16>(1024.0h);
    return bitcast<u32>(fma(q, vec2<f16>(scale), vec2<f16>(-low)));
}

// Eight columns: bytes 0 and 2, 1 and 3 of each word.
fn eight(a: u32, b: u32, mask: u32, scale: f16, low: f16) -> vec4u {
    return vec4u(weights(a, mask, scale, low), weights(a >> 8u, mask, scale, low), weights(b, mask, scale, low), weights(b >> 8u, mask, scale, low));
}

fn halves_of(raw: Raw) -> array<vec4u, 4> {
    let s = vec4<f16>(scales_of(raw.header, raw.c) * vec4f(1.0, 1.0, 0.0625, 1.0)); // high nibbles are 16 times too large
    let q = raw.quants;
    return array<vec4u, 4>(eight(q.x, q.y, 0x000f000fu, s.x, s.y), eight(q.z, q.w, 0x000f000fu, s.x, s.y),
                           eight(q.x, q.y, 0x00f000f0u, s.z, s.w), eight(q.z, q.w, 0x00f000f0u, s.z, s.w));
}
