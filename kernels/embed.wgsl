// Computes:  dst[t] = W[token[t]] * scale, for the tokens whose row is among the `rows` from `first` on, which W holds.
// Shapes:    tokens [count], dst [count][32 * chunks]; behind a format_*.wgsl.
// Bindings:  2 tokens, 3 dst, 4 params.
// Work:      one thread a chunk: grid (chunks / 64, tokens).
// Limits:    none.
struct Params { chunks: u32, scale: f32, first: u32, rows: u32 }
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<vec4f>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let row = tokens[id.y] - p.first; // wraps below it
    if (id.x >= p.chunks || row >= p.rows) { return; }
    let w = load_chunk(row, p.chunks, id.x);
    for (var j = 0u; j < 8u; j++) { dst[id.y * p.chunks * 8u + element_group(id.x, j)] = w[j] * p.scale; }
}
