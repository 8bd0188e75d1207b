// Packs the TILE values of a workgroup, whole groups of 16, that it has left in `values`.
const TILE = THREADS / LANES * ROWS;
var<workgroup> values: array<vec4f, TILE / 4u>;

fn put_value(i: u32, value: f32) { values[i / 4u][i % 4u] = value; }
fn pack_values(g: u32) -> Group { return pack_group(values[4u * g], values[4u * g + 1u], values[4u * g + 2u], values[4u * g + 3u]); }
