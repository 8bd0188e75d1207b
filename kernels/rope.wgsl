// Computes:  turns pairs of columns of each head by position * frequency; cos and sin are scaled.
// Shapes:    src [rows][src_cols], dst [rows][dst_cols]; head h starts at h * stride + offset; frequency [dim / 2].
// Bindings:  0 step, 1 frequency, 2 src, 3 dst, 4 params. IN_PLACE: src is not read.
// Work:      one thread a pair: grid (pairs of a row / 64, rows).
// Limits:    none.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params {
    heads: u32, half: u32, scale: f32, src_cols: u32,
    dst_cols: u32, src_stride: u32, src_offset: u32, dst_stride: u32,
    dst_offset: u32, pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> frequency: array<f32>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override PAIRS: bool = false;
override IN_PLACE: bool = false;

fn load(i: u32) -> f32 {
    if (IN_PLACE) { return dst[i]; }
    return src[i];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let head = id.x / p.half;
    let i = id.x % p.half;
    if (head >= p.heads) { return; }
    let angle = f32(step.position + id.y) * frequency[i];
    // Large angles are brought into one turn with 2 pi in two parts: hardware cos and sin lose them otherwise.
    let turns = round(angle * 0.15915494309);
    let reduced = fma(-turns, -1.7484556e-7, fma(-turns, 6.2831855, angle));
    let c = cos(reduced) * p.scale;
    let s = sin(reduced) * p.scale;
    let a = select(i, 2u * i, PAIRS);
    let b = select(i + p.half, 2u * i + 1u, PAIRS);
    let from_row = id.y * p.src_cols + head * p.src_stride + p.src_offset;
    let to_row = id.y * p.dst_cols + head * p.dst_stride + p.dst_offset;
    let x = load(from_row + a);
    let y = load(from_row + b);
    dst[to_row + a] = x * c - y * s;
    dst[to_row + b] = y * c + x * s;
}
