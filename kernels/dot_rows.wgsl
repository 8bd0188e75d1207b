// The sums of one lane for ROWS rows of a matrix, from row `first` of `rows` on: units lane, lane + LANES, ... of UNITS.
// FETCH: when the next units are fetched: 0 where they are wanted, 1 before the present ones are multiplied, 2 right behind that,
// before they are wanted. 1 hides the memory's latency, the others need fewer registers, so that more threads run at once.
fn load_input$(u: u32) -> Input {
    var in = Input();
    for (var k = 0u; k < 4u; k++) {
        let at = place_of$(u, k);
        in.bytes[k] = x[at.x * PLACES + at.y];
        if (FINE$) { in.low[k] = x[(7u + at.x) * PLACES + at.y]; }
    }
    if (IN_ORDER$) {
        let near = bitcast<vec4f>(x[GROUPS + u]);
        let far = bitcast<vec4f>(x[GROUPS + PLACES + u]);
        in.scale = array<vec2f, 4>(near.xy, near.zw, far.xy, far.zw);
    } else {
        for (var k = 0u; k < 4u; k++) {
            let at = place_of$(u, k);
            let two = bitcast<vec4f>(x[GROUPS + at.x / 2u * PLACES + at.y]);
            in.scale[k] = select(two.xy, two.zw, at.x % 2u == 1u);
        }
    }
    return in;
}

fn load_rows$(first: u32, rows: u32, u: u32) -> array<Unit$, ROWS> {
    var w = array<Unit$, ROWS>();
    for (var r = 0u; r < ROWS; r++) { w[r] = load_unit$(min(first + r, rows - 1u) * UNITS + min(u, UNITS - 1u)); }
    return w;
}

fn sum_rows$(first: u32, rows: u32, lane: u32) -> array<f32, ROWS> {
    var sums = array<f32, ROWS>();
    var w = load_rows$(first, rows, lane);
    for (var i = 0u; i < STEPS; i++) {
        let u = lane + i * LANES;
        var next = w;
        if (FETCH == 1u && i + 1u < STEPS) { next = load_rows$(first, rows, u + LANES); }
        let in = load_input$(min(u, UNITS - 1u));
        for (var r = 0u; r < ROWS; r++) {
            let s = dot_unit$(w[r], u, in);
            sums[r] += select(s, 0.0, UNITS % LANES != 0u && u >= UNITS);
        }
        if (FETCH != 1u && i + 1u < STEPS) { next = load_rows$(first, rows, u + LANES); }
        w = next;
    }
    return sums;
}
