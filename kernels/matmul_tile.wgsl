// Which tile of dst a workgroup of matmul.wgsl or matmul_matrix.wgsl computes: TILE_T rows, TILE_N columns. GROUPED: rows are
// (token, choice) pairs sorted by expert (group.wgsl), W and bias those of the tile's expert. PLACED: what stands for the expert
// is the slot that its weights are in, and the expert << 16.
struct Params {
    n: u32, chunks: u32, share: u32, cols: u32, // share: rows that read the same row of the activations
    first: u32, experts: u32, pad0: u32, pad1: u32,
}
struct Tile { first: u32, end: u32, first_n: u32, expert: u32, place: u32, idle: bool }
const NONE = 0xffffffffu;

fn tile_of(at: vec3u) -> Tile {
    if (GROUPED == 0u) { return Tile(at.x * TILE_T, select(rows[1], rows[2], OUTPUTS == 1u), at.y * TILE_N, 0u, 0u, false); }
    if (at.y >= rows[0]) { return Tile(0u, 0u, 0u, 0u, 0u, true); }
    var expert = rows[1u + 3u * at.y];
    var place = expert;
    if (PLACED == 1u) {
        place = expert & 0xffffu;
        expert = expert >> 16u;
    }
    // p.experts from p.first on are those that W holds; the difference wraps below
    return Tile(rows[2u + 3u * at.y], rows[3u + 3u * at.y], at.x * TILE_N, expert, place - p.first, place - p.first >= p.experts);
}

// The tile's row i in dst; NONE behind the end.
fn row_of(tile: Tile, i: u32) -> u32 {
    let row = tile.first + i;
    if (row >= tile.end) { return NONE; }
    if (GROUPED == 1u) { return rows[row]; }
    return row;
}

// The row of the activations that it reads. Outside, some row inside: nobody reads what becomes of it.
fn source_of(row: u32) -> u32 { return select(row / p.share, 0u, row == NONE); }
// The same for rows of W.
fn weight_row(tile: Tile, i: u32) -> u32 { return tile.place * p.n + min(tile.first_n + i, p.n - 1u); }
