// sum_rows of two matrices of one dtype and shape at once; FETCH as there.
struct Pair { a: array<f32, ROWS>, b: array<f32, ROWS> }

fn sum_pairs(first: u32, rows: u32, lane: u32) -> Pair {
    var sums = Pair();
    var w = array<Unit0, ROWS>();
    var w2 = array<Unit1, ROWS>();
    if (FETCH > 0u) {
        w = load_rows0(first, rows, lane);
        w2 = load_rows1(first, rows, lane);
    }
    for (var i = 0u; i < STEPS; i++) {
        let u = lane + i * LANES;
        if (FETCH == 0u) {
            w = load_rows0(first, rows, u);
            w2 = load_rows1(first, rows, u);
        }
        var next = w;
        var next2 = w2;
        if (FETCH == 1u && i + 1u < STEPS) {
            next = load_rows0(first, rows, u + LANES);
            next2 = load_rows1(first, rows, u + LANES);
        }
        let in = load_input0(min(u, UNITS - 1u));
        let over = UNITS % LANES != 0u && u >= UNITS;
        for (var r = 0u; r < ROWS; r++) {
            sums.a[r] += select(dot_unit0(w[r], u, in), 0.0, over);
            sums.b[r] += select(dot_unit1(w2[r], u, in), 0.0, over);
        }
        if (FETCH == 2u && i + 1u < STEPS) {
            next = load_rows0(first, rows, u + LANES);
            next2 = load_rows1(first, rows, u + LANES);
        }
        if (FETCH > 0u) {
            w = next;
            w2 = next2;
        }
    }
    return sums;
}
