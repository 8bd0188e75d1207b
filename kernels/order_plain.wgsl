// A chunk is 32 columns in order.
fn element_group(c: u32, j: u32) -> u32 { return c * 8u + j; }
