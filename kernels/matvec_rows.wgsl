// Computes:  what matvec.wgsl does, ROWS rows by each thread alone: for devices that are programs, where a barrier and memory that
//            a workgroup shares cost more than reading src again, and code is compiled for longer than it runs.
// Shapes:    as matvec.wgsl.
// Bindings:  those of matvec_params.wgsl.
// Work:      grid (rows / (ROWS * THREADS), tokens or pairs, z). What is read of src, which a browser checks, serves ROWS rows; they
//            are looped over, since written out they ran no faster and compiled for longer.
// Limits:    as matvec.wgsl.
override THREADS: u32 = 4;
const ROWS = 8u;

fn add_products(sum: vec4f, x: array<vec4f, 8>, w: array<vec4f, 8>) -> vec4f {
    let half = fma(x[3], w[3], fma(x[2], w[2], fma(x[1], w[1], fma(x[0], w[0], sum))));
    return fma(x[7], w[7], fma(x[6], w[6], fma(x[5], w[5], fma(x[4], w[4], half))));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
    let first = at.x * ROWS;
    let t = at.y;
    if (first >= p.rows) { return; }
    let matrix = matrix_of(t, at.z);
    if (!matrix.here) { return; }
    let from_row = src_row(t, at.z);
    var sums: array<vec4f, ROWS>;
    for (var c = 0u; c < p.chunks; c++) {
        let x = array<vec4f, 8>(src[from_row + element_group(c, 0u)], src[from_row + element_group(c, 1u)],
                                src[from_row + element_group(c, 2u)], src[from_row + element_group(c, 3u)],
                                src[from_row + element_group(c, 4u)], src[from_row + element_group(c, 5u)],
                                src[from_row + element_group(c, 6u)], src[from_row + element_group(c, 7u)]);
        for (var r = 0u; r < ROWS; r++) {
            let n = min(first + r, p.rows - 1u);
            sums[r] = add_products(sums[r], x, load_chunk(matrix.row + n, p.chunks, c));
        }
    }
    for (var r = 0u; r < ROWS && first + r < p.rows; r++) {
        let n = first + r;
        var sum = dot(sums[r], vec4f(1.0));
        if (BIAS) { sum += bias[matrix.bias + n]; }
        dst[dst_row(t, at.z) + n] = sum;
    }
}
