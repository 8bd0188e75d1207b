// Computes:  RMSNorm of one row: dst = src / sqrt(mean(src^2) + eps) * (gain + offset); and what dot_residual.wgsl would leave
//            of the row: src * (gain + offset), packed, with sums of squares.
// Shapes:    src, gain, dst [16 * groups]; packed as pack.wgsl says, then a sum of squares for each group.
// Bindings:  0 src, 1 gain, 2 dst, 3 packed, 4 params; behind pack.wgsl, pack_store.wgsl, norm_row.wgsl.
// Work:      one workgroup: grid (1, rows), rows 0 or 1.
// Limits:    none.
struct Params { groups: u32, eps: f32, offset: f32, pad: u32 }
@group(0) @binding(0) var<storage, read> src: array<vec4f>;
@group(0) @binding(1) var<storage, read> gain: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> packed: array<u32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    var square = 0.0;
    for (var g = thread; g < p.groups; g += THREADS) {
        var v = array<vec4f, 4>();
        var own = vec4f(0.0);
        for (var i = 0u; i < 4u; i++) {
            let value = src[4u * g + i];
            v[i] = value * (gain[4u * g + i] + vec4f(p.offset));
            own = fma(value, value, own);
        }
        store_group(g, p.groups, v[0], v[1], v[2], v[3]);
        store_square(g, p.groups, own);
        square += own.x + own.y + own.z + own.w;
    }
    let factor = row_factor(square, thread);
    for (var i = thread; i < 4u * p.groups; i += THREADS) { dst[i] = src[i] * factor * (gain[i] + vec4f(p.offset)); }
}
