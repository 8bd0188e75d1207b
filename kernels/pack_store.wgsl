// Packed activations as pack.wgsl lays them out, in a kernel's buffer `packed`, an array of words.

// Group g of a row of `groups`.
fn store_group(g: u32, groups: u32, group: Group) {
    for (var i = 0u; i < 4u; i++) { packed[4u * g + i] = group.bytes[i]; }
    packed[4u * groups + 2u * g] = bitcast<u32>(group.scale);
    packed[4u * groups + 2u * g + 1u] = bitcast<u32>(group.sum);
    for (var i = 0u; i < 4u; i++) { packed[7u * groups + 4u * g + i] = group.low[i]; }
}

// The group's sum of squares, of rows that a norm follows.
fn store_square(g: u32, groups: u32, square: vec4f) { packed[6u * groups + g] = bitcast<u32>(square.x + square.y + square.z + square.w); }
