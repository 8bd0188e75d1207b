// Computes:  what matvec.wgsl does, a row by each thread alone: for devices that are programs, where a barrier and memory that a
//            workgroup shares cost more than reading src again, and code is compiled for longer than it runs.
// Shapes:    as matvec.wgsl.
// Bindings:  2 src, 3 bias (any buffer when BIAS is false), 4 ids (any when IDS is false), 5 dst, 6 params.
// Work:      grid (rows / THREADS, tokens or pairs, z).
// Limits:    as matvec.wgsl.
struct Params {
    rows: u32, chunks: u32, src_cols: u32, dst_cols: u32,
    src_stride: u32, src_offset: u32, dst_stride: u32, dst_offset: u32,
    row_stride: u32, row_offset: u32, src_share: u32, first: u32, // src_share: pairs that read the same src row
    experts: u32,
}
@group(0) @binding(2) var<storage, read> src: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override BIAS: bool = false;
override IDS: bool = false;
override PLACED: bool = false;
override THREADS: u32 = 32;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
    let n = at.x;
    let t = at.y;
    if (n >= p.rows) { return; }
    var row = at.z * p.row_stride + p.row_offset + n;
    var bias_row = n;
    if (IDS) {
        let id = ids[t];
        let place = select(id, id & 0xffffu, PLACED) - p.first; // wraps below it
        if (place >= p.experts) { return; }
        row = place * p.rows + n;
        bias_row = select(id, id >> 16u, PLACED) * p.rows + n;
    }
    let from_row = (t / p.src_share * p.src_cols + at.z * p.src_stride + p.src_offset) / 4u;
    var s = vec4f(0.0);
    for (var c = 0u; c < p.chunks; c++) {
        let w = load_chunk(row, p.chunks, c);
        for (var j = 0u; j < 8u; j++) { s = fma(src[from_row + element_group(c, j)], w[j], s); }
    }
    var sum = s.x + s.y + s.z + s.w;
    if (BIAS) { sum += bias[bias_row]; }
    dst[t * p.dst_cols + at.z * p.dst_stride + p.dst_offset + n] = sum;
}
