// Computes:  rows of f32 as f16, each scaled by a power of two so that its largest value lies in [256, 512): no activation
//            leaves the range of f16, and what is 2^-22 of the largest still counts.
// Shapes:    src [rows][32 * chunks]; packed alike, the columns in the order of the weight's chunks; scales [rows] undo it.
//            Behind a format_*.wgsl and a halves*.wgsl, of which it takes element_group and in_order.
// Bindings:  2 src, 3 packed, 4 scales, 5 params.
// Work:      one workgroup a row: grid (rows).
// Limits:    none.
struct Params { chunks: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(2) var<storage, read> src: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> packed: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
const THREADS = 128u;
var<workgroup> most: array<f32, 128>;

fn halves(a: vec4f, b: vec4f) -> vec4u {
    return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let row = at.x * p.chunks;
    var top = vec4f(0.0);
    for (var i = thread; i < p.chunks * 8u; i += THREADS) { top = max(top, abs(src[row * 8u + i])); }
    most[thread] = max(max(top.x, top.y), max(top.z, top.w));
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) { most[thread] = max(most[thread], most[thread + half]); }
        workgroupBarrier();
    }
    // the power of two at or below the largest
    let power = bitcast<f32>(clamp(bitcast<u32>(most[0]) & 0x7f800000u, 0x10000000u, 0x7e000000u));
    let factor = 256.0 / power;
    if (thread == 0u) { scales[at.x] = power / 256.0; }
    for (var i = thread; i < p.chunks * 4u; i += THREADS) {
        let c = i / 4u;
        let j = i % 4u * 2u;
        let a = src[row * 8u + element_group(c, j)];
        let b = src[row * 8u + element_group(c, j + 1u)];
        packed[row * 4u + i] = halves(in_order(a) * factor, in_order(b) * factor);
    }
}
