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
    let a = spread_all(ws$[3u * block + 1u][lane], x.mine);
    let b = spread_all(ws$[3u * block + 2u][lane], x.mine);
    let near = meet_halves(x.a, a, a ^ vec4u(TOP), x.extra.low, x.extra.high, vec4f());
    let all = meet_halves(x.b, b, b ^ vec4u(TOP), x.extra.low, x.extra.high, near);
    return vec2f(x.extra.scale * (all.x + all.y), fma(8.0 * x.extra.scale, all.z + all.w, x.extra.lift));
}
