// Adds to sums those of `count` rows of a matrix from `first` on, times `share`; `origin`: where the row of x begins. Two chunks of a
// row are a lane's; pair$, the format's (lean_*.wgsl), makes a sum of them, or two (MINS$), and row_sum$ one of all lanes'. All lanes go through the same rows and chunks, so that
// they may exchange registers; one that has no chunks left takes others for nothing.
const STRIPS$ = (min(ROWS, MATRIX$) + LANES - 1u) / LANES;

fn load_x$(origin: u32, c: u32) -> array<vec4f, 8> {
    return array<vec4f, 8>(x[origin + element_group$(c, 0u)], x[origin + element_group$(c, 1u)], x[origin + element_group$(c, 2u)],
                           x[origin + element_group$(c, 3u)], x[origin + element_group$(c, 4u)], x[origin + element_group$(c, 5u)],
                           x[origin + element_group$(c, 6u)], x[origin + element_group$(c, 7u)]);
}

fn add_rows$(first: u32, count: u32, origin: u32, share: f32, lane: u32) {
    for (var step = 0u; step < STEPS; step++) {
        let begin = 2u * LANES * step;
        let c = min(begin + 2u * lane, CHUNKS - 2u);
        let both = ready$(load_x$(origin, c), load_x$(origin, c + 1u), c, lane);
        for (var q = 0u; q < STRIPS$; q++) {
            if (MATRIX$ % ROWS != 0u && 4u * q >= count) { break; }
            var sum = 0.0;
            var mins = 0.0;
            for (var j = 0u; j < LANES; j++) {
                var row = 4u * q + j;
                if (MATRIX$ % LANES != 0u) { row = min(row, count - 1u); }
                var part = pair$(first + row, c, both, lane);
                if (CHUNKS % (2u * LANES) != 0u) { part = select(vec2f(), part, begin + 2u * lane < CHUNKS); }
                sum = select(sum, of_all(part.x), lane == j);
                if (MINS$) { mins = select(mins, of_all(part.y), lane == j); }
            }
            sums[q] += share * row_sum$(first + min(4u * q + lane, count - 1u), both, vec2f(sum, mins));
        }
    }
}
