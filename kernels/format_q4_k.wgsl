// Q4_K: super-blocks of 256, value d sc q - dmin m for sub-blocks of 32.
// A weight matrix on the device is two arrays, repacked at load: wq holds quants, ws scales and the like. A chunk is 32
// elements of a row: load_chunk gives them as eight vec4f, element_group(c, j) says which four columns (as an index of
// vec4f) the j-th of them are. wq: eight vec4u a super-block; ws: four words (d, dmin, scales).
// Bindings 0 and 1 belong to the weight; a kernel's own begin at 2.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;
@group(0) @binding(1) var<storage, read> ws: array<u32>;

// A chunk is 16 low and 16 high nibbles of the same bytes: columns 64 g + 16 h + 0..15 and 32 further, c = 8 block + 2 g + h.
fn element_group(c: u32, j: u32) -> u32 { return c / 2u * 16u + c % 2u * 4u + j % 4u + j / 4u * 8u; }
fn low_nibbles(w: u32) -> vec4f { return vec4f(vec4u(w, w >> 8u, w >> 16u, w >> 24u) & vec4u(15u)); }
fn high_nibbles(w: u32) -> vec4f { return low_nibbles(w >> 4u); }
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

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = row * chunks + c;
    let q = wq[at];
    let header = at / 8u * 4u;
    let s = c % 8u / 2u * 2u;
    let low = scale_min(header, s);
    let high = scale_min(header, s + 1u);
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        out[i] = low.x * low_nibbles(q[i]) - low.y;
        out[i + 4u] = high.x * high_nibbles(q[i]) - high.y;
    }
    return out;
}
