// Q2_K, Q3_K and Q6_K: a chunk is 8 columns at l, l + 32, l + 64, l + 96 of a half of 128: c = 8 block + 4 half + l / 8.
fn element_group(c: u32, j: u32) -> u32 { return c / 4u * 32u + c % 4u * 2u + j % 2u + j / 2u * 8u; }
