// F16.
// wq: four vec4u a chunk, as stored.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = (row * chunks + c) * 4u;
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        let w = wq[at + i];
        out[2u * i] = vec4f(unpack2x16float(w.x), unpack2x16float(w.y));
        out[2u * i + 1u] = vec4f(unpack2x16float(w.z), unpack2x16float(w.w));
    }
    return out;
}
