// Computes:  dst[t][n] = sum_k src[t][k] * W[n][k] (+ bias[n]) for many tokens in f32, in tiles of 64 x 128.
//            GROUPED: each (token, choice) pair meets its expert's W, as matmul_tile.wgsl says; tiles of experts that W does not
//            hold are left alone.
// Shapes:    src [rows / share][32 * chunks], W [n][32 * chunks] behind a format_*.wgsl, dst [rows][cols], of which n are written.
// Bindings:  2 rows (step, or the groups of group.wgsl), 3 src, 4 bias (any buffer when BIAS is 0), 5 dst, 6 params; behind matmul_tile.wgsl.
// Work:      128 threads a tile, each 8 x 8 outputs and one row of W to unpack, a chunk of 32 columns at a time; its halves go
//            through workgroup memory in turn, the next chunk on its way in registers meanwhile. Grid (rows / 64, n / 128);
//            GROUPED (n / 128, tiles of groups).
// Limits:    13 KiB of workgroup memory. The variant's constants are put in front.
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> src: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
const TILE_T = 64u;
const TILE_N = 128u;
const THREADS = 128u;
const LOADS = 4u;   // vec4f of src a thread brings for a chunk, 16 rows apart
const STRIDE = 65u; // of a group's tokens: one more than needed, against bank conflicts
// [group of four columns][token or row]: neighbouring threads read neighbouring rows.
var<workgroup> xs: array<vec4f, 260>;
var<workgroup> wt: array<vec4f, 512>;
var<workgroup> tile_row: array<u32, 64>;

// What the tiles in workgroup memory, 16 columns, add to a thread's sums.
fn add_products(sums: ptr<function, array<array<f32, 8>, 8>>, tx: u32, ty: u32) {
    for (var j = 0u; j < 4u; j++) {
        var b = array<vec4f, 8>();
        for (var i = 0u; i < 8u; i++) { b[i] = wt[j * TILE_N + tx + 16u * i]; }
        for (var a = 0u; a < 8u; a++) {
            let x = xs[j * STRIDE + ty + 8u * a];
            for (var i = 0u; i < 8u; i++) {
                (*sums)[a][i] = fma(x.x, b[i].x, fma(x.y, b[i].y, fma(x.z, b[i].z, fma(x.w, b[i].w, (*sums)[a][i]))));
            }
        }
    }
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let tile = tile_of(at);
    if (tile.idle) { return; }
    if (thread < TILE_T) { tile_row[thread] = row_of(tile, thread); }
    workgroupBarrier();

    let my_w = weight_row(tile, thread);
    let my_j = thread % 8u;
    var my_x = array<u32, LOADS>();
    for (var i = 0u; i < LOADS; i++) { my_x[i] = source_of(tile_row[thread / 8u + 16u * i]) * p.chunks * 8u; }
    // A warp of 32 threads covers 8 x 4 of the tile, so that its reads of either side are of one width of memory.
    let tx = thread % 8u + thread / 32u % 2u * 8u;
    let ty = thread / 8u % 4u + thread / 64u * 4u;
    var sums = array<array<f32, 8>, 8>();
    var w = load_chunk(my_w, p.chunks, 0u);
    var x = array<vec4f, LOADS>();
    for (var i = 0u; i < LOADS; i++) { x[i] = src[my_x[i] + element_group(0u, my_j)]; }
    for (var c = 0u; c < p.chunks; c++) {
        for (var j = 0u; j < 4u; j++) { wt[j * TILE_N + thread] = w[j]; }
        if (my_j < 4u) {
            for (var i = 0u; i < LOADS; i++) { xs[my_j * STRIDE + thread / 8u + 16u * i] = x[i]; }
        }
        workgroupBarrier();
        add_products(&sums, tx, ty);
        workgroupBarrier();
        for (var j = 0u; j < 4u; j++) { wt[j * TILE_N + thread] = w[j + 4u]; }
        if (my_j >= 4u) {
            for (var i = 0u; i < LOADS; i++) { xs[(my_j - 4u) * STRIDE + thread / 8u + 16u * i] = x[i]; }
        }
        workgroupBarrier();
        if (c + 1u < p.chunks) {
            w = load_chunk(my_w, p.chunks, c + 1u);
            for (var i = 0u; i < LOADS; i++) { x[i] = src[my_x[i] + element_group(c + 1u, my_j)]; }
        }
        add_products(&sums, tx, ty);
        workgroupBarrier();
    }
    for (var a = 0u; a < 8u; a++) {
        let row = tile_row[ty + 8u * a];
        for (var i = 0u; i < 8u; i++) {
            let n = tile.first_n + tx + 16u * i;
            if (row != NONE && n < p.n) {
                var value = sums[a][i];
                if (BIAS == 1u) { value += bias[tile.expert * p.n + n]; }
                dst[row * p.cols + n] = value;
            }
        }
    }
}
