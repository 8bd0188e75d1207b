// Two chunks of Q6_K, which share scales, four of sixteen columns each: these meet sums instead of each quant. Of the last two parts
// nibbles and bits meet x apart, since neither can be shifted to the other.
const MINS$ = false;
struct Ready$ {
    a: array<vec4f, 8>, b: array<vec4f, 8>,
    rest: vec4f, // of the parts: less 32 a column, more what TOP takes
    block: u32, at: u32, word: u32, // in a row, in a block; of the scales
    scales: vec4u, scale_places: vec4f, scale_rest: vec4f,
    six: vec4u, high: vec4u, third: vec4u, last: vec4u, // masks
}

fn ready$(a: array<vec4f, 8>, b: array<vec4f, 8>, c: u32, lane: u32) -> Ready$ {
    let third = a[4] + a[5] + b[4] + b[5];
    let last = a[6] + a[7] + b[6] + b[7];
    let all = vec4f(total(a[0] + a[1] + b[0] + b[1]), total(a[2] + a[3] + b[2] + b[3]), total(third), total(last));
    let odd = (c & 2u) != 0u; // bytes 1 and 3 of two words are the scales, else 0 and 2
    let signs = select(128.0, 0.0, odd);
    return Ready$(placed(a, 1.0), placed(b, 1.0), vec4f(0.0, 0.0, 8.0 * third.w, 40.0 * last.w) - 32.0 * all,
                  c / 8u, c % 8u, select(16u, 18u, (c & 4u) != 0u),
                  select(vec4u(0xffu, 0xff0000u, 0xffu, 0xff0000u), vec4u(0xff00u, 0xff000000u, 0xff00u, 0xff000000u), odd),
                  vec4f(1.0, 0x1p-16, 1.0, 0x1p-16) * select(1.0, 0x1p-8, odd), -vec4f(128.0, signs, 128.0, signs),
                  kept(0x3fu * BYTES, lane), kept(HIGH, lane), kept(0x30u * BYTES, lane), kept(0xc0u * BYTES, lane));
}

// Two sums each of first and second part, of nibbles of third and last, of their bits.
struct Parts$ { six: vec4f, nibbles: vec4f, bits: vec4f }
fn parts$(x: Ready$, c: array<vec4f, 8>, q: vec4u, bits: vec2u, sum: Parts$) -> Parts$ {
    let first = (q.xy & vec2u(0x0f0f0f0fu)) | ((bits & vec2u(0x03030303u)) * 16u);
    let second = (q.zw & vec2u(0x0f0f0f0fu)) | ((bits & vec2u(0x0c0c0c0cu)) * 4u);
    let nibbles = q ^ vec4u(TOP);
    let a = Parts$(meet(c[0], c[2], first.x, second.x, x.six, x.six, sum.six), meet(c[4], c[6], nibbles.x, nibbles.z, x.high, x.high, sum.nibbles),
                   meet(c[4], c[6], bits.x, bits.x ^ TOP, x.third, x.last, sum.bits));
    return Parts$(meet(c[1], c[3], first.y, second.y, x.six, x.six, a.six), meet(c[5], c[7], nibbles.y, nibbles.w, x.high, x.high, a.nibbles),
                  meet(c[5], c[7], bits.y, bits.y ^ TOP, x.third, x.last, a.bits));
}

fn pair$(row: u32, c: u32, x: Ready$, lane: u32) -> vec2f {
    let base = (row * (CHUNKS / 8u) + x.block) * 21u;
    let at = row * CHUNKS + c;
    let bits = base + x.at * 2u;
    let near = parts$(x, x.a, wq$[at], vec2u(ws$[bits], ws$[bits + 1u]), Parts$());
    let all = parts$(x, x.b, wq$[at + 1u], vec2u(ws$[bits + 2u], ws$[bits + 3u]), near);
    let bytes = vec2u(ws$[base + x.word], ws$[base + x.word + 1u]) ^ vec2u(0x00808080u);
    let scale = fma(vec4f(vec4i(bytes.xxyy & x.scales)), x.scale_places, x.scale_rest);
    let third = fma(0.0625, all.nibbles.x + all.nibbles.y, all.bits.x + all.bits.y);
    let last = fma(0.0625, all.nibbles.z + all.nibbles.w, 0.25 * (all.bits.z + all.bits.w));
    let sums = vec4f(all.six.x + all.six.y, all.six.z + all.six.w, third, last) + x.rest;
    return vec2f(total(scale * sums), 0.0);
}

fn row_sum$(row: u32, x: Ready$, sums: vec2f) -> f32 {
    return unpack2x16float(ws$[(row * (CHUNKS / 8u) + x.block) * 21u + 20u]).x * sums.x;
}
