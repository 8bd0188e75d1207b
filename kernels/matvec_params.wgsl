// What matvec.wgsl and matvec_rows.wgsl are told, and where the rows of a token or pair t, part z, lie.
// Bindings:  2 src, 3 bias (any buffer when BIAS is false), 4 ids (any when IDS is false), 5 dst, 6 params.
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

struct Matrix { row: u32, bias: u32, here: bool } // its first row in W and in bias; not here: of an expert that W does not hold

fn matrix_of(t: u32, z: u32) -> Matrix {
    if (!IDS) { return Matrix(z * p.row_stride + p.row_offset, 0u, true); }
    let id = ids[t];
    let place = select(id, id & 0xffffu, PLACED) - p.first; // wraps below it
    return Matrix(place * p.rows, select(id, id >> 16u, PLACED) * p.rows, place < p.experts);
}

fn src_row(t: u32, z: u32) -> u32 { return (t / p.src_share * p.src_cols + z * p.src_stride + p.src_offset) / 4u; }

fn dst_row(t: u32, z: u32) -> u32 { return t * p.dst_cols + z * p.dst_stride + p.dst_offset; }
