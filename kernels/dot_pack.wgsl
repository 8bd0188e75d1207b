// Packs the TILE values of a workgroup, whole groups of 16, that it has left in `values`.
const TILE = THREADS / LANES * ROWS;
var<workgroup> values: array<vec4f, TILE / 4u>;

fn put_value(i: u32, value: f32) { values[i / 4u][i % 4u] = value; }
fn pack_values(g: u32) -> Group { return pack_group(values[4u * g], values[4u * g + 1u], values[4u * g + 2u], values[4u * g + 3u]); }

// Group g of a row of `groups`.
fn store_group(g: u32, groups: u32, group: Group) {
    for (var i = 0u; i < 4u; i++) { packed[4u * g + i] = group.bytes[i]; }
    packed[4u * groups + 2u * g] = bitcast<u32>(group.scale);
    packed[4u * groups + 2u * g + 1u] = bitcast<u32>(group.sum);
    for (var i = 0u; i < 4u; i++) { packed[7u * groups + 4u * g + i] = group.low[i]; }
}
