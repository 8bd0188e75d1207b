// The end of a block: its result is added to the residual, and the norm behind it made ready for the next product: if PACK,
// residual * (gain + offset), packed, and the sums of squares of the residual, which give the norm's factor (dot_input.wgsl).
var<workgroup> squares: array<vec4f, TILE / 4u>;

// row: this thread's, if `mine`; value: what is added to the old residual.
fn add_to_residual(row: u32, mine: bool, in_tile: u32, tile: u32, thread: u32, old: f32, value: f32, factor: f32) {
    let now = old + value;
    if (mine) { dst[row] = now; }
    if (PACK == 0u) { return; }
    if (mine) {
        put_value(in_tile, now * factor);
        squares[in_tile / 4u][in_tile % 4u] = now * now;
    }
    workgroupBarrier();
    if (thread < TILE / 16u) {
        let g = tile * (TILE / 16u) + thread;
        let four = squares[4u * thread] + squares[4u * thread + 1u] + squares[4u * thread + 2u] + squares[4u * thread + 3u];
        store_square(g, MATRIX0 / 16u, four);
    }
    store_tile(tile * (TILE / 16u), MATRIX0 / 16u, thread);
}
