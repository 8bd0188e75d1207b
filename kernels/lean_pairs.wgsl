// Two chunks of Q4_K or Q5_K, which share a header, scales and mins: these meet sums instead of each quant. What is the same for all
// lanes each reads a word of. Nothing is shifted (lean.wgsl): x undoes the places of quants, and what a lane takes of the header is
// masked by its own masks, once found for all rows.
const MINS$ = true;
struct Ready$ {
    a: array<vec4f, 8>, b: array<vec4f, 8>,
    low: f32, high: f32, // sums of the low and the high nibbles' columns
    lift: f32,           // of the latter, what TOP takes from them
    block: u32,
    scales: vec4u, rest: vec4u, scale_places: vec4f, rest_places: vec4f, scale_lift: vec4f,
    mine: vec4u, // words of what is spread
    low_mask: vec4u, high_mask: vec4u,
    extra: Extra$,
}

fn ready$(a: array<vec4f, 8>, b: array<vec4f, 8>, c: u32, lane: u32) -> Ready$ {
    let low = a[0] + a[1] + a[2] + a[3] + b[0] + b[1] + b[2] + b[3];
    let high = a[4] + a[5] + a[6] + a[7] + b[4] + b[5] + b[6] + b[7];
    // Scale and min of the low nibbles, then of the high ones: bytes 0 and 1, or 2 and 3, of y and z; in the header's second half two
    // bits of them, and nibbles of w.
    let second = (c & 4u) != 0u;
    let far = (c & 2u) != 0u;
    let bytes = vec4u(1u, 1u, 0x100u, 0x100u) * select(1u, 0x10000u, far);
    let places = vec4f(1.0, 1.0, 0x1p-8, 0x1p-8) * select(1.0, 0x1p-16, far);
    let nibbles = vec4u(0x0fu, 0xf0u, 0x0fu, 0xf0u);
    return Ready$(placed(a, 0.0625), placed(b, 0.0625), total(low), total(high), 8.0 * high.w, c / 8u,
                  bytes * select(0x3fu, 0xc0u, second), bytes * nibbles * select(0u, 1u, second),
                  places * select(1.0, 0.25, second), places * vec4f(1.0, 0.0625, 1.0, 0.0625),
                  select(vec4f(), vec4f(0.0, 0.0, 32.0, 40.0), second && far),
                  select(vec4u(), vec4u(~0u), vec4u(lane) == vec4u(0u, 1u, 2u, 3u)), kept(LOW, lane), kept(HIGH, lane), extra$(low, high, c));
}

fn pair$(row: u32, c: u32, x: Ready$, lane: u32) -> vec2f {
    let block = row * (CHUNKS / 8u) + x.block;
    let mine = header_word$(block, lane) ^ TOP;
    let h = vec3u(spread(mine, x.mine.y), spread(mine, x.mine.z), spread(mine, x.mine.w));
    let rest = fma(vec4f(vec4i(vec4u(h.z) & x.rest)), x.rest_places, x.scale_lift);
    let scale = fma(vec4f(vec4i(h.xyxy & x.scales)), x.scale_places, rest);
    let at = row * CHUNKS + c;
    let a = wq$[at];
    let b = wq$[at + 1u];
    let near = meet_halves(x.a, a, a ^ vec4u(TOP), x.low_mask, x.high_mask, vec4f());
    let all = meet_halves(x.b, b, b ^ vec4u(TOP), x.low_mask, x.high_mask, near);
    let more = more$(block, x, lane);
    return vec2f(scale.x * (all.x + all.y + more.x) + scale.z * (all.z + all.w + x.lift + more.y), scale.y * x.low + scale.w * x.high);
}

fn row_sum$(row: u32, x: Ready$, sums: vec2f) -> f32 {
    let d = unpack2x16float(header_word$(row * (CHUNKS / 8u) + x.block, 0u));
    return d.x * sums.x - d.y * sums.y;
}
