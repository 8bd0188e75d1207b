// Two chunks of a row as the format loads them.
const MINS$ = false;
struct Ready$ { a: array<vec4f, 8>, b: array<vec4f, 8> }

fn ready$(a: array<vec4f, 8>, b: array<vec4f, 8>, c: u32, lane: u32) -> Ready$ { return Ready$(a, b); }

fn pair$(row: u32, c: u32, x: Ready$, lane: u32) -> vec2f {
    let near = times(x.a, load_chunk$(row, CHUNKS, c), vec4f());
    return vec2f(total(times(x.b, load_chunk$(row, CHUNKS, c + 1u), near)), 0.0);
}

fn row_sum$(row: u32, x: Ready$, sums: vec2f) -> f32 { return sums.x; }
