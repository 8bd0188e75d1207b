// BF16.
// A weight matrix on the device is two arrays, repacked at load: wq holds quants, ws scales and the like. A chunk is 32
// elements of a row: load_chunk gives them as eight vec4f, element_group(c, j) says which four columns (as an index of
// vec4f) the j-th of them are. wq: four vec4u a chunk, as stored.
// Bindings 0 and 1 belong to the weight; a kernel's own begin at 2.
@group(0) @binding(0) var<storage, read> wq: array<vec4u>;
@group(0) @binding(1) var<storage, read> ws: array<u32>;

fn element_group(c: u32, j: u32) -> u32 { return c * 8u + j; }

fn pair(w: u32) -> vec2f { return vec2f(bitcast<f32>(w << 16u), bitcast<f32>(w & 0xffff0000u)); }

fn load_chunk(row: u32, chunks: u32, c: u32) -> array<vec4f, 8> {
    let at = (row * chunks + c) * 4u;
    var out: array<vec4f, 8>;
    for (var i = 0u; i < 4u; i++) {
        let w = wq[at + i];
        out[2u * i] = vec4f(pair(w.x), pair(w.y));
        out[2u * i + 1u] = vec4f(pair(w.z), pair(w.w));
    }
    return out;
}
