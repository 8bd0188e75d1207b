// Computes:  dst[t][h][i] = sum_{j < rows} src[t][h][j] * W[h * row_stride + row_offset + j][i]: MLA's absorbed query.
// Shapes:    src, dst at t * cols + h * stride + offset; behind a format_*.wgsl.
// Bindings:  2 src, 3 dst, 4 params.
// Work:      one thread a chunk of 32 outputs: grid (chunks / 64, tokens, heads).
// Limits:    none.
struct Params {
    rows: u32, chunks: u32, src_cols: u32, dst_cols: u32,
    src_stride: u32, src_offset: u32, dst_stride: u32, dst_offset: u32,
    row_stride: u32, row_offset: u32, pad0: u32, pad1: u32,
}
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= p.chunks) { return; }
    let from_row = id.y * p.src_cols + id.z * p.src_stride + p.src_offset;
    let to_row = id.y * p.dst_cols + id.z * p.dst_stride + p.dst_offset;
    var sums: array<vec4f, 8>;
    for (var r = 0u; r < p.rows; r++) {
        let w = load_chunk(id.z * p.row_stride + p.row_offset + r, p.chunks, id.x);
        let x = src[from_row + r];
        for (var j = 0u; j < 8u; j++) { sums[j] = fma(vec4f(x), w[j], sums[j]); }
    }
    for (var j = 0u; j < 8u; j++) {
        let i = to_row + 4u * element_group(id.x, j);
        dst[i] = sums[j].x;
        dst[i + 1u] = sums[j].y;
        dst[i + 2u] = sums[j].z;
        dst[i + 3u] = sums[j].w;
    }
}
