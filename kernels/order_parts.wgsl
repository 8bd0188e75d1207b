// Q2_K, Q3_K and Q6_K: a chunk is 8 columns at l, l + 32, l + 64, l + 96 of a half of 128: c = 8 block + 4 half + l / 8.
@group(0) @binding(WS$) var<storage, read> ws$: array<u32,#SCALES#>;

fn element_group$(c: u32, j: u32) -> u32 { return (c >> 2u) * 32u + (c & 3u) * 2u + (j & 1u) + (j >> 1u) * 8u; }

// Of each byte two bits, by which it is shifted.
fn two_bits$(w: u32, shift: u32) -> u32 { return (w >> shift) & 0x03030303u; }
