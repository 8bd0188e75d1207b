// Adds to this lane's sums those of `count` rows of a matrix from `first` on, times `share`; `origin`: where the row of x begins.
fn load_x$(origin: u32, c: u32) -> array<vec4f, 8> {
    return array<vec4f, 8>(x[origin + element_group$(c, 0u)], x[origin + element_group$(c, 1u)], x[origin + element_group$(c, 2u)],
                           x[origin + element_group$(c, 3u)], x[origin + element_group$(c, 4u)], x[origin + element_group$(c, 5u)],
                           x[origin + element_group$(c, 6u)], x[origin + element_group$(c, 7u)]);
}

fn add_rows$(first: u32, count: u32, origin: u32, share: f32, lane: u32) {
    for (var c = 2u * lane; c < CHUNKS; c += 2u * LANES) {
        let a = load_x$(origin, c);
        let b = load_x$(origin, c + 1u);
        for (var r = 0u; r < count; r++) {
            let near = times(a, load_chunk$(first + r, CHUNKS, c), vec4f());
            let four = times(b, load_chunk$(first + r, CHUNKS, c + 1u), near);
            sums[r] += share * dot(four, vec4f(1.0));
        }
    }
}
