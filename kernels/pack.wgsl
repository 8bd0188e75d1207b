// Packed activations: a row as signed bytes in groups of 16 columns, which integer dot products read. One array of words:
// four words of bytes a group, then, behind all groups, (scale, scale * sum of the bytes) of each as bits of f32; a word a
// group for sums of squares (dot_residual.wgsl), then four words of what the bytes leave out, in 256ths, for coarse
// weights, whose few values carry the bytes' rounding too far. Neighbouring threads want every fourth group, so the first of
// each four stand together, then the second ones, and so on; of scales, in pairs, the first two of each four.
struct Quarter { bytes: u32, low: u32, sum: i32 } // four columns of a group; sum: of the bytes

// The largest of a group, which its scale follows.
fn most_of(v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) -> f32 {
    let m = max(max(abs(v0), abs(v1)), max(abs(v2), abs(v3)));
    return max(max(m.x, m.y), max(m.z, m.w));
}

fn pack_quarter(v: vec4f, most: f32) -> Quarter {
    let fine = vec4i(round(v * select(0.0, 32512.0 / most, most > 1e-30))); // 256 times what the bytes are
    let bytes = pack4xI8((fine + vec4i(128)) >> vec4u(8u));
    return Quarter(bytes, pack4xI8(fine), dot4I8Packed(bytes, 0x01010101u));
}
