// Computes:  packs one row of activations.
// Shapes:    src [16 * groups]; dst packed, as pack.wgsl says.
// Bindings:  0 src, 1 dst, 2 params; behind pack.wgsl.
// Work:      one thread a group: grid (groups / 64).
// Limits:    none.
struct Params { groups: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<storage, read> src: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let g = id.x;
    if (g >= p.groups) { return; }
    let group = pack_group(src[4u * g], src[4u * g + 1u], src[4u * g + 2u], src[4u * g + 3u]);
    for (var i = 0u; i < 4u; i++) { dst[4u * g + i] = group.bytes[i]; }
    dst[4u * p.groups + 2u * g] = bitcast<u32>(group.scale);
    dst[4u * p.groups + 2u * g + 1u] = bitcast<u32>(group.sum);
    for (var i = 0u; i < 4u; i++) { dst[7u * p.groups + 4u * g + i] = group.low[i]; }
}
