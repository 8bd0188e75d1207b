// Packed activations: a row as signed bytes in groups of 16 columns, which integer dot products read. One array of words:
// four words of bytes a group, then, behind all groups, (scale, scale * sum of the bytes) of each as bits of f32.
struct Group { bytes: vec4u, scale: f32, sum: f32 }

fn pack_group(v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) -> Group {
    let m = max(max(abs(v0), abs(v1)), max(abs(v2), abs(v3)));
    let most = max(max(m.x, m.y), max(m.z, m.w));
    let inverse = select(0.0, 127.0 / most, most > 1e-30);
    let q0 = vec4i(round(v0 * inverse));
    let q1 = vec4i(round(v1 * inverse));
    let q2 = vec4i(round(v2 * inverse));
    let q3 = vec4i(round(v3 * inverse));
    let s = q0 + q1 + q2 + q3;
    let scale = most / 127.0;
    return Group(vec4u(pack4xI8(q0), pack4xI8(q1), pack4xI8(q2), pack4xI8(q3)), scale, scale * f32(s.x + s.y + s.z + s.w));
}
