// Computes:  dst[t][n] = sum_k src[t][k] * W[n][k] (+ bias[n]) for many tokens on the matrix units: f16 products, f32 sums.
//            GROUPED: rows are (token, choice) pairs sorted by expert (group.wgsl), W and bias those of the tile's expert; tiles
//            of experts outside the `experts` from `first` on, which W holds, are left alone.
// Shapes:    packed, scales as in pack_f16.wgsl; W [n][32 * chunks] behind a format_*.wgsl; dst [rows][cols], of which n
//            are written.
// Bindings:  2 rows (step, or the groups of group.wgsl), 3 packed, 4 scales, 5 bias (any buffer when BIAS is 0), 6 dst, 7 params.
// Work:      four subgroups a tile of TILE_T x TILE_N outputs, each FRAG_T x 2 matrices of them; two chunks (64 columns) at a
//            time through workgroup memory, the next two on their way in registers meanwhile. Matrices are named one by one:
//            indexed by a loop variable they would leave the registers. Grid (n / TILE_N, rows / TILE_T or tiles of groups).
// Limits:    |W| < 65504; FRAG_T 2 or 4; 64 bytes behind packed can be read. MATRIX is the side of the device's matrices,
//            SUBGROUP its only subgroup size, at most 2 MATRIX; both and the variant's constants are put in front.
struct Params {
    n: u32, chunks: u32, share: u32, cols: u32, // share: rows that read the same row of packed
    first: u32, experts: u32, pad0: u32, pad1: u32,
}
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> packed: array<vec4u>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> dst: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;
alias Left = subgroup_matrix_left<f16, MATRIX, MATRIX>;
alias Right = subgroup_matrix_right<f16, MATRIX, MATRIX>;
alias Sums = subgroup_matrix_result<f32, MATRIX, MATRIX>;
const TILE_T = 2u * FRAG_T * MATRIX;
const TILE_N = 4u * MATRIX;
const THREADS = 4u * SUBGROUP;
const STRIDE = 9u; // vec4u, of 8 halves, that a row of 64 columns takes: one more than needed, against bank conflicts
const LOADS_X = TILE_T * 8u / THREADS; // vec4u a thread brings each time
const LOADS_W = TILE_N * 2u / THREADS; // chunks
const NONE = 0xffffffffu;
var<workgroup> xs: array<vec4u, TILE_T * STRIDE>;
var<workgroup> wt: array<vec4u, TILE_N * STRIDE>;
var<workgroup> staged: array<f32, 4u * MATRIX * MATRIX>;
var<workgroup> tile_row: array<u32, TILE_T>;

fn halves(a: vec4f, b: vec4f) -> vec4u {
    return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

fn load_halves(row: u32, c: u32) -> array<vec4u, 4> {
    var out = array<vec4u, 4>();
    if (c < p.chunks) {
        let w = load_chunk(row, p.chunks, c);
        for (var j = 0u; j < 4u; j++) { out[j] = halves(w[2u * j], w[2u * j + 1u]); }
    }
    return out;
}

fn left(row: u32, k: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&xs, row * STRIDE + k, STRIDE); }
fn right(row: u32, k: u32) -> Right { return subgroupMatrixLoad<Right, col_major>(&wt, row * STRIDE + k, STRIDE); }

// One matrix of sums to dst; every thread takes part.
fn put(sums: Sums, thread: u32, at_t: u32, at_n: u32, first_n: u32, first_bias: u32) {
    let own = thread / SUBGROUP * MATRIX * MATRIX;
    subgroupMatrixStore<row_major>(&staged, own, sums, MATRIX);
    workgroupBarrier();
    for (var e = thread % SUBGROUP; e < MATRIX * MATRIX; e += SUBGROUP) {
        let row = tile_row[at_t + e / MATRIX];
        let n = first_n + at_n + e % MATRIX;
        if (row != NONE && n < p.n) {
            var value = staged[own + e] * scales[row / p.share];
            if (BIAS == 1u) { value += bias[first_bias + n]; }
            dst[row * p.cols + n] = value;
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    var first = at.y * TILE_T;
    var end = select(rows[1], rows[2], OUTPUTS == 1u);
    var expert = 0u;
    if (GROUPED == 1u) {
        if (at.y >= rows[0]) { return; }
        expert = rows[1u + 3u * at.y];
        if (expert - p.first >= p.experts) { return; } // wraps below it
        first = rows[2u + 3u * at.y];
        end = rows[3u + 3u * at.y];
    }
    for (var i = thread; i < TILE_T; i += THREADS) {
        var row = first + i;
        if (row >= end) { row = NONE; }
        else if (GROUPED == 1u) { row = rows[row]; }
        tile_row[i] = row;
    }
    workgroupBarrier();

    // Rows outside the matrix are loaded from some row inside: nobody reads what becomes of them.
    let first_n = at.x * TILE_N;
    var from_x: array<u32, LOADS_X>;
    var from_w: array<u32, LOADS_W>;
    var x: array<vec4u, LOADS_X>;
    var w: array<array<vec4u, 4>, LOADS_W>;
    for (var i = 0u; i < LOADS_X; i++) {
        let row = tile_row[(thread + i * THREADS) / 8u];
        from_x[i] = select(row / p.share, 0u, row == NONE) * p.chunks * 4u + thread % 8u;
        x[i] = packed[from_x[i]];
    }
    for (var i = 0u; i < LOADS_W; i++) {
        from_w[i] = (expert - p.first) * p.n + min(first_n + (thread + i * THREADS) / 2u, p.n - 1u);
        w[i] = load_halves(from_w[i], thread % 2u);
    }

    let my_t = thread / SUBGROUP / 2u * FRAG_T * MATRIX;
    let my_n = thread / SUBGROUP % 2u * 2u * MATRIX;
    var s00: Sums; var s01: Sums;
    var s10: Sums; var s11: Sums;
    var s20: Sums; var s21: Sums;
    var s30: Sums; var s31: Sums;
    for (var c = 0u; c < p.chunks; c += 2u) {
        for (var i = 0u; i < LOADS_X; i++) { xs[(thread + i * THREADS) / 8u * STRIDE + thread % 8u] = x[i]; }
        for (var i = 0u; i < LOADS_W; i++) {
            for (var j = 0u; j < 4u; j++) { wt[(thread + i * THREADS) / 2u * STRIDE + thread % 2u * 4u + j] = w[i][j]; }
        }
        workgroupBarrier();
        if (c + 2u < p.chunks) {
            for (var i = 0u; i < LOADS_X; i++) { x[i] = packed[from_x[i] + (c + 2u) * 4u]; }
            for (var i = 0u; i < LOADS_W; i++) { w[i] = load_halves(from_w[i], c + 2u + thread % 2u); }
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
                let a3 = left(my_t + 3u * MATRIX, k);
                s20 = subgroupMatrixMultiplyAccumulate(a2, b0, s20);
                s21 = subgroupMatrixMultiplyAccumulate(a2, b1, s21);
                s30 = subgroupMatrixMultiplyAccumulate(a3, b0, s30);
                s31 = subgroupMatrixMultiplyAccumulate(a3, b1, s31);
            }
        }
        workgroupBarrier();
    }
    let first_bias = expert * p.n;
    put(s00, thread, my_t, my_n, first_n, first_bias);
    put(s01, thread, my_t, my_n + MATRIX, first_n, first_bias);
    put(s10, thread, my_t + MATRIX, my_n, first_n, first_bias);
    put(s11, thread, my_t + MATRIX, my_n + MATRIX, first_n, first_bias);
    if (FRAG_T > 2u) {
        put(s20, thread, my_t + 2u * MATRIX, my_n, first_n, first_bias);
        put(s21, thread, my_t + 2u * MATRIX, my_n + MATRIX, first_n, first_bias);
        put(s30, thread, my_t + 3u * MATRIX, my_n, first_n, first_bias);
        put(s31, thread, my_t + 3u * MATRIX, my_n + MATRIX, first_n, first_bias);
    }
}
