// Computes:  row and packed as place_keep.wgsl kept them.
// Shapes:    kept: row [p.row], packed [p.packed].
// Bindings:  0 kept, 1 row, 2 packed (any writable buffer if p.packed is 0), 3 params.
// Work:      a thread a word: grid ((p.row + p.packed) / 64).
// Limits:    none.
struct Params { row: u32, packed: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<storage, read> kept: array<u32>;
@group(0) @binding(1) var<storage, read_write> row: array<u32>;
@group(0) @binding(2) var<storage, read_write> packed: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3u) {
    let i = at.x;
    if (i < p.row) { row[i] = kept[i]; }
    else if (i - p.row < p.packed) { packed[i - p.row] = kept[i]; }
}
