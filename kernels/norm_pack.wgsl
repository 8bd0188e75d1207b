// Computes:  RMSNorm of one row, as f32 and packed: dst = x / sqrt(mean(x^2) + eps) * (weight + offset).
// Shapes:    src, weight, dst [16 * groups]; packed as pack.wgsl says.
// Bindings:  0 src, 1 weight, 2 dst, 3 packed, 4 params; behind pack.wgsl.
// Work:      one workgroup: grid (1, rows), rows 0 or 1.
// Limits:    none.
struct Params { groups: u32, eps: f32, offset: f32, pad: u32 }
@group(0) @binding(0) var<storage, read> src: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> bytes: array<u32>;
@group(0) @binding(4) var<uniform> p: Params;
const THREADS = 256u;
var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    var square = vec4f(0.0);
    for (var i = thread; i < 4u * p.groups; i += THREADS) {
        let x = src[i];
        square = fma(x, x, square);
    }
    partial[thread] = square.x + square.y + square.z + square.w;
    workgroupBarrier();
    if (thread < 32u) {
        var sum = 0.0;
        for (var i = 0u; i < 8u; i++) { sum += partial[thread + 32u * i]; }
        partial[thread] = sum;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 32u; i++) { total += partial[i]; }
    let scale = inverseSqrt(total / f32(16u * p.groups) + p.eps);
    for (var g = thread; g < p.groups; g += THREADS) {
        var v: array<vec4f, 4>;
        for (var i = 0u; i < 4u; i++) {
            v[i] = src[4u * g + i] * scale * (weight[4u * g + i] + vec4f(p.offset));
            dst[4u * g + i] = v[i];
        }
        let group = pack_group(v[0], v[1], v[2], v[3]);
        for (var i = 0u; i < 4u; i++) { bytes[4u * g + i] = group.bytes[i]; }
        bytes[4u * p.groups + 2u * g] = bitcast<u32>(group.scale);
        bytes[4u * p.groups + 2u * g + 1u] = bitcast<u32>(group.sum);
    }
}
