// Packed activations as pack.wgsl lays them out, in a kernel's buffer `packed`, an array of words. Rows of `groups` groups.

// Columns 4 c to 4 c + 3 of group g; returns the sum of their bytes.
fn store_quarter(g: u32, c: u32, groups: u32, v: vec4f, most: f32) -> i32 {
    let own = pack_quarter(v, most);
    let at = 4u * (g % 4u * (groups / 4u) + g / 4u) + c;
    packed[at] = own.bytes;
    packed[7u * groups + at] = own.low;
    return own.sum;
}

// The group's scale. sum: of all its bytes.
fn store_scale(g: u32, groups: u32, most: f32, sum: i32) {
    let at = 4u * (groups + g % 4u / 2u * (groups / 4u) + g / 4u) + g % 2u * 2u;
    let scale = most / 127.0;
    packed[at] = bitcast<u32>(scale);
    packed[at + 1u] = bitcast<u32>(scale * f32(sum));
}

fn store_group(g: u32, groups: u32, v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) {
    let most = most_of(v0, v1, v2, v3);
    let first = store_quarter(g, 0u, groups, v0, most) + store_quarter(g, 1u, groups, v1, most);
    store_scale(g, groups, most, first + store_quarter(g, 2u, groups, v2, most) + store_quarter(g, 3u, groups, v3, most));
}

// The group's sum of squares, of rows that a norm follows.
fn store_square(g: u32, groups: u32, square: vec4f) { packed[6u * groups + g] = bitcast<u32>(square.x + square.y + square.z + square.w); }
