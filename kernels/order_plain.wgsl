// A chunk is 32 columns in order.
@group(0) @binding(WS$) var<storage, read> ws$: array<u32,#SCALES#>;

fn element_group$(c: u32, j: u32) -> u32 { return c * 8u + j; }

// f16 scales, two to a word.
fn half_at$(i: u32) -> f32 {
    let both = unpack2x16float(ws$[i >> 1u]);
    return select(both.x, both.y, (i & 1u) == 1u);
}

// Bits first .. first + 3 of h as 16 or 0, a byte each.
fn fifth_bits$(h: u32, first: u32) -> u32 { return ((((h >> first) & 15u) * 0x00204081u) & 0x01010101u) << 4u; }
