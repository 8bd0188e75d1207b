// Packed activations: a row as signed bytes in groups of 16 columns, which integer dot products read. One array of words:
// four words of bytes a group, then, behind all groups, (scale, scale * sum of the bytes) of each as bits of f32; a word a
// group for sums of squares (dot_residual.wgsl), then four words of what the bytes leave out, in 256ths, for coarse
// weights, whose few values carry the bytes' rounding too far. Neighbouring threads want every fourth group, so the first of
// each four stand together, then the second ones, and so on; of scales, in pairs, the first two of each four.
struct Group { bytes: vec4u, low: vec4u, scale: f32, sum: f32 }

fn pack_group(v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) -> Group {
    let m = max(max(abs(v0), abs(v1)), max(abs(v2), abs(v3)));
    let most = max(max(m.x, m.y), max(m.z, m.w));
    let inverse = select(0.0, 32512.0 / most, most > 1e-30);
    let f0 = vec4i(round(v0 * inverse));
    let f1 = vec4i(round(v1 * inverse));
    let f2 = vec4i(round(v2 * inverse));
    let f3 = vec4i(round(v3 * inverse));
    let half = vec4i(128);
    let q0 = (f0 + half) >> vec4u(8u);
    let q1 = (f1 + half) >> vec4u(8u);
    let q2 = (f2 + half) >> vec4u(8u);
    let q3 = (f3 + half) >> vec4u(8u);
    let s = q0 + q1 + q2 + q3;
    let scale = most / 127.0;
    return Group(vec4u(pack4xI8(q0), pack4xI8(q1), pack4xI8(q2), pack4xI8(q3)), vec4u(pack4xI8(f0), pack4xI8(f1), pack4xI8(f2), pack4xI8(f3)), scale,
                 scale * f32(s.x + s.y + s.z + s.w));
}
