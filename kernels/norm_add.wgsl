// Computes:  the seam between two blocks with norms on both sides, for one row: dst += RMSNorm(src), and what dot_residual.wgsl
//            says of that: dst * (next_gain + next_offset), packed, with sums of squares.
// Shapes:    src, dst, gain, next_gain [16 * groups]; packed as pack.wgsl says, then a sum of squares for each group.
// Bindings:  0 src, 1 gain, 2 dst, 3 next_gain, 4 packed, 5 params; behind pack.wgsl, pack_store.wgsl, norm_row.wgsl.
// Work:      one workgroup.
// Limits:    none.
struct Params { groups: u32, eps: f32, offset: f32, next_offset: f32 }
@group(0) @binding(0) var<storage, read> src: array<vec4f>;
@group(0) @binding(1) var<storage, read> gain: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4f>;
@group(0) @binding(3) var<storage, read> next_gain: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> packed: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    var square = vec4f(0.0);
    for (var i = thread; i < 4u * p.groups; i += THREADS) {
        let v = src[i];
        square = fma(v, v, square);
    }
    let factor = row_factor(square.x + square.y + square.z + square.w, thread);
    for (var g = thread; g < p.groups; g += THREADS) {
        var v = array<vec4f, 4>();
        var own = vec4f(0.0);
        for (var j = 0u; j < 4u; j++) {
            let i = 4u * g + j;
            let value = dst[i] + src[i] * factor * (gain[i] + vec4f(p.offset));
            dst[i] = value;
            own = fma(value, value, own);
            v[j] = value * (next_gain[i] + vec4f(p.next_offset));
        }
        store_group(g, p.groups, v[0], v[1], v[2], v[3]);
        store_square(g, p.groups, own);
    }
}
