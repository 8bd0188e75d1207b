// Computes:  dst[t] = W[token[t]] * scale.
// Shapes:    tokens [count], dst [count][32 * chunks]; behind a format_*.wgsl.
// Bindings:  2 tokens, 3 dst, 4 params.
// Work:      one thread a chunk: grid (chunks / 64, tokens).
// Limits:    none.
struct Params { chunks: u32, scale: f32, pad0: u32, pad1: u32 }
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<vec4f>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= p.chunks) { return; }
    let w = load_chunk(tokens[id.y], p.chunks, id.x);
    for (var j = 0u; j < 8u; j++) { dst[id.y * p.chunks * 8u + element_group(id.x, j)] = w[j] * p.scale; }
}
