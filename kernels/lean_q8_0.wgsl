// Two chunks of Q8_0. Of a word's signed bytes the sign of all but the highest is turned around: they are 128 too large.
const MINS$ = false;
struct Ready$ { a: array<vec4f, 8>, b: array<vec4f, 8>, rest: vec2f, scale: u32, mask: vec4u }

fn ready$(a: array<vec4f, 8>, b: array<vec4f, 8>, c: u32, lane: u32) -> Ready$ {
    let all = vec2f(dot(sum_of(a), vec4f(1.0, 1.0, 1.0, 0.0)), dot(sum_of(b), vec4f(1.0, 1.0, 1.0, 0.0)));
    return Ready$(placed(a, 1.0), placed(b, 1.0), -128.0 * all, c / 2u, kept(0xffu * BYTES, lane));
}

fn chunk$(x: Ready$, c: array<vec4f, 8>, at: u32) -> f32 {
    let signs = vec4u(0x00808080u);
    return total(meet_halves(c, wq$[at] ^ signs, wq$[at + 1u] ^ signs, x.mask, x.mask, vec4f()));
}

fn pair$(row: u32, c: u32, x: Ready$, lane: u32) -> vec2f {
    let at = 2u * (row * CHUNKS + c);
    let d = unpack2x16float(ws$[row * (CHUNKS / 2u) + x.scale]); // chunks are even
    return vec2f(d.x * (chunk$(x, x.a, at) + x.rest.x) + d.y * (chunk$(x, x.b, at + 2u) + x.rest.y), 0.0);
}

fn row_sum$(row: u32, x: Ready$, sums: vec2f) -> f32 { return sums.x; }
