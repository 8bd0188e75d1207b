// BF16, in the chunks of order_stored.wgsl.
fn four$(a: u32, b: u32) -> vec4f { return vec4f(bitcast<f32>(a << 16u), bitcast<f32>(a & 0xffff0000u), bitcast<f32>(b << 16u), bitcast<f32>(b & 0xffff0000u)); }
