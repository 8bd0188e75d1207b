// Computes:  dst[t][n] = sum_k src[t][k] * W[n][k] (+ bias[n]) for many tokens on the matrix units: f16 products, f32 sums.
//            GROUPED: each (token, choice) pair meets its expert's W, as matmul_tile.wgsl says; tiles of experts that W does not
//            hold are left alone.
// Shapes:    packed, scales as in pack_f16.wgsl; W [n][32 * chunks] behind a format_*.wgsl and a halves*.wgsl; dst
//            [rows][cols], of which n are written.
// Bindings:  2 rows (step, or the groups of group.wgsl), 3 packed, 4 scales, 5 bias (any buffer when BIAS is 0), 6 dst, 7 params; behind
//            matmul_tile.wgsl.
// Work:      SIDE_T x SIDE_N subgroups a tile of TILE_T x TILE_N outputs, each FRAG_T x 2 matrices of them; two chunks (64
//            columns) at a time through workgroup memory, the next two on their way in registers meanwhile. Grid (rows /
//            TILE_T, n / TILE_N), so that tiles that share weights run together; GROUPED (n / TILE_N, tiles of groups).
// Speed:     matrices are named one by one, since those indexed by a loop variable leave the registers, but k stays a loop:
//            unrolled by hand the code outgrows the instruction cache. Sums leave through the memory of the tiles, since on
//            NVIDIA's driver workgroups share 48 KiB of a core: 24 KiB more than they need would halve how many run there.
// Limits:    |W| < 65504; FRAG_T 2 or 4; 64 bytes behind packed can be read. MATRIX is the side of the device's matrices,
//            SUBGROUP its only subgroup size, at most 2 MATRIX; both and the variant's constants are put in front.
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> packed: array<vec4u>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> dst: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;
alias Left = subgroup_matrix_left<f16, MATRIX, MATRIX>;
alias Right = subgroup_matrix_right<f16, MATRIX, MATRIX>;
alias Sums = subgroup_matrix_result<f32, MATRIX, MATRIX>;
const TILE_T = SIDE_T * FRAG_T * MATRIX;
const TILE_N = SIDE_N * 2u * MATRIX;
const THREADS = SIDE_T * SIDE_N * SUBGROUP;
const STRIDE = 9u; // vec4u, of 8 halves, that a row of 64 columns takes: one more than needed, against bank conflicts
const WEIGHTS = TILE_T * STRIDE; // where they begin in tiles
const LOADS_X = TILE_T * 8u / THREADS; // vec4u a thread brings each time
const LOADS_W = TILE_N * 2u / THREADS; // chunks
const SUM_COLUMNS = 2u * MATRIX; // of a subgroup's sums on their way out, in rows of
const SUM_STRIDE = SUM_COLUMNS / 4u + 1u;
var<workgroup> tiles: array<vec4u, (TILE_T + TILE_N) * STRIDE>;
var<workgroup> tile_row: array<u32, TILE_T>;
var<workgroup> tile_scale: array<f32, TILE_T>;

fn left(row: u32, k: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&tiles, row * STRIDE + k, STRIDE); }
fn right(row: u32, k: u32) -> Right { return subgroupMatrixLoad<Right, col_major>(&tiles, WEIGHTS + row * STRIDE + k, STRIDE); }

// Two matrices of sums side by side to dst; every thread takes part.
fn put(a: Sums, b: Sums, thread: u32, at_t: u32, n: u32, first_bias: u32) {
    let own = thread / SUBGROUP * MATRIX * SUM_STRIDE;
    subgroupMatrixStore<row_major>(&tiles, own, a, SUM_STRIDE);
    subgroupMatrixStore<row_major>(&tiles, own + MATRIX / 4u, b, SUM_STRIDE);
    workgroupBarrier();
    for (var e = thread % SUBGROUP; e < MATRIX * SUM_COLUMNS; e += SUBGROUP) {
        let r = e / SUM_COLUMNS;
        let column = e % SUM_COLUMNS;
        let row = tile_row[at_t + r];
        if (row != NONE && n + column < p.n) {
            var value = bitcast<f32>(tiles[own + r * SUM_STRIDE + column / 4u][column % 4u]) * tile_scale[at_t + r];
            if (BIAS == 1u) { value += bias[first_bias + n + column]; }
            dst[row * p.cols + n + column] = value;
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let tile = tile_of(at);
    if (tile.idle) { return; }
    for (var i = thread; i < TILE_T; i += THREADS) {
        let row = row_of(tile, i);
        tile_row[i] = row;
        tile_scale[i] = scales[source_of(row)];
    }
    workgroupBarrier();

    var from_x: array<u32, LOADS_X>;
    var from_w: array<u32, LOADS_W>;
    var x: array<vec4u, LOADS_X>;
    var w: array<Raw, LOADS_W>;
    let half = thread % 2u; // which of the two chunks this thread brings
    for (var i = 0u; i < LOADS_X; i++) {
        from_x[i] = source_of(tile_row[(thread + i * THREADS) / 8u]) * p.chunks * 4u + thread % 8u;
        x[i] = packed[from_x[i]];
    }
    for (var i = 0u; i < LOADS_W; i++) {
        from_w[i] = weight_row(tile, (thread + i * THREADS) / 2u);
        w[i] = fetch_chunk(from_w[i], p.chunks, min(half, p.chunks - 1u));
    }

    let my_t = thread / SUBGROUP / SIDE_N * FRAG_T * MATRIX;
    let my_n = thread / SUBGROUP % SIDE_N * 2u * MATRIX;
    var s00: Sums; var s01: Sums;
    var s10: Sums; var s11: Sums;
    var s20: Sums; var s21: Sums;
    var s30: Sums; var s31: Sums;
    for (var c = 0u; c < p.chunks; c += 2u) {
        for (var i = 0u; i < LOADS_X; i++) { tiles[(thread + i * THREADS) / 8u * STRIDE + thread % 8u] = x[i]; }
        for (var i = 0u; i < LOADS_W; i++) {
            let to = WEIGHTS + (thread + i * THREADS) / 2u * STRIDE + half * 4u;
            var weights = halves_of(w[i]);
            if (c + half >= p.chunks) { weights = array<vec4u, 4>(); }
            for (var j = 0u; j < 4u; j++) { tiles[to + j] = weights[j]; }
        }
        workgroupBarrier();
        if (c + 2u < p.chunks) {
            for (var i = 0u; i < LOADS_X; i++) { x[i] = packed[from_x[i] + (c + 2u) * 4u]; }
            for (var i = 0u; i < LOADS_W; i++) { w[i] = fetch_chunk(from_w[i], p.chunks, min(c + 2u + half, p.chunks - 1u)); }
        }
        for (var k = 0u; k < 8u; k += MATRIX / 8u) {
            let b0 = right(my_n, k);
            let b1 = right(my_n + MATRIX, k);
            let a0 = left(my_t, k);
            s00 = subgroupMatrixMultiplyAccumulate(a0, b0, s00);
            s01 = subgroupMatrixMultiplyAccumulate(a0, b1, s01);
            let a1 = left(my_t + MATRIX, k);
            s10 = subgroupMatrixMultiplyAccumulate(a1, b0, s10);
            s11 = subgroupMatrixMultiplyAccumulate(a1, b1, s11);
            if (FRAG_T > 2u) {
                let a2 = left(my_t + 2u * MATRIX, k);
                s20 = subgroupMatrixMultiplyAccumulate(a2, b0, s20);
                s21 = subgroupMatrixMultiplyAccumulate(a2, b1, s21);
                let a3 = left(my_t + 3u * MATRIX, k);
                s30 = subgroupMatrixMultiplyAccumulate(a3, b0, s30);
                s31 = subgroupMatrixMultiplyAccumulate(a3, b1, s31);
            }
        }
        workgroupBarrier();
    }
    let first_bias = tile.expert * p.n;
    put(s00, s01, thread, my_t, tile.first_n + my_n, first_bias);
    put(s10, s11, thread, my_t + MATRIX, tile.first_n + my_n, first_bias);
    if (FRAG_T > 2u) {
        put(s20, s21, thread, my_t + 2u * MATRIX, tile.first_n + my_n, first_bias);
        put(s30, s31, thread, my_t + 3u * MATRIX, tile.first_n + my_n, first_bias);
    }
}
