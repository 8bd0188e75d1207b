// Packed activations as pack.wgsl lays them out, in a kernel's buffer `packed`, an array of words.

// Group g of a row of `groups`.
fn store_group(g: u32, groups: u32, group: Group) {
    let quads = groups / 4u;
    let at = vec2u(g % 4u, g / 4u);
    let bytes = 4u * (at.x * quads + at.y);
    let scale = 4u * (groups + at.x / 2u * quads + at.y) + at.x % 2u * 2u;
    for (var i = 0u; i < 4u; i++) { packed[bytes + i] = group.bytes[i]; }
    packed[scale] = bitcast<u32>(group.scale);
    packed[scale + 1u] = bitcast<u32>(group.sum);
    for (var i = 0u; i < 4u; i++) { packed[7u * groups + bytes + i] = group.low[i]; }
}

// The group's sum of squares, of rows that a norm follows.
fn store_square(g: u32, groups: u32, square: vec4f) { packed[6u * groups + g] = bitcast<u32>(square.x + square.y + square.z + square.w); }
