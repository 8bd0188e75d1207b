// Computes:  packs one row of activations.
// Shapes:    src [16 * groups]; packed as pack.wgsl says.
// Bindings:  0 src, 1 packed, 2 params; behind pack.wgsl, pack_store.wgsl.
// Work:      one thread a group: grid (groups / 64).
// Limits:    none.
struct Params { groups: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<storage, read> src: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> packed: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let g = id.x;
    if (g >= p.groups) { return; }
    store_group(g, p.groups, src[4u * g], src[4u * g + 1u], src[4u * g + 2u], src[4u * g + 3u]);
}
