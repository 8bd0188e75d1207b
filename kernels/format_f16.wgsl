// F16, in the chunks of order_stored.wgsl.
fn four$(a: u32, b: u32) -> vec4f { return vec4f(unpack2x16float(a), unpack2x16float(b)); }
