// What lean_pairs.wgsl leaves open: the fifth bits, of which a lane wants one, then the next, of each byte.
struct Extra$ { low: vec4u, high: vec4u, scale: f32, lift: f32 }
fn header_word$(block: u32, lane: u32) -> u32 { return ws$[3u * block][lane]; }

fn extra$(low: vec4f, high: vec4f, c: u32) -> Extra$ {
    var bit = 1u;
    for (var i = 0u; i < (c & 6u); i++) { bit *= 2u; }
    let bits = vec4u(bit, bit * 0x100u, bit * 0x10000u, bit * 0x1000000u);
    return Extra$(bits, 2u * bits, 16.0 / f32(bit), select(0.0, 16.0 * high.w, (c & 6u) == 6u));
}

fn more$(block: u32, x: Ready$, lane: u32) -> vec2f {
    let a = spread(ws$[3u * block + 1u][lane], x.mine);
    let b = spread(ws$[3u * block + 2u][lane], x.mine);
    let low = meet(x.a[0], x.a[1], x.a[2], x.a[3], a, x.extra.low, meet(x.b[0], x.b[1], x.b[2], x.b[3], b, x.extra.low, vec4f()));
    let high = meet(x.a[4], x.a[5], x.a[6], x.a[7], a ^ vec4u(TOP), x.extra.high,
                    meet(x.b[4], x.b[5], x.b[6], x.b[7], b ^ vec4u(TOP), x.extra.high, vec4f()));
    return vec2f(x.extra.scale * total(low), fma(8.0 * x.extra.scale, total(high), x.extra.lift));
}
