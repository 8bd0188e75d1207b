// Computes:  what matvec.wgsl does, a row by each thread alone: for devices that are programs, where a barrier and memory that a
//            workgroup shares cost more than reading src again, and code is compiled for longer than it runs.
// Shapes:    as matvec.wgsl.
// Bindings:  those of matvec_params.wgsl.
// Work:      grid (rows / THREADS, tokens or pairs, z).
// Limits:    as matvec.wgsl.
override THREADS: u32 = 32;

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) at: vec3u) {
    let n = at.x;
    let t = at.y;
    if (n >= p.rows) { return; }
    let matrix = matrix_of(t, at.z);
    if (!matrix.here) { return; }
    let from_row = src_row(t, at.z);
    var s = vec4f(0.0);
    for (var c = 0u; c < p.chunks; c++) {
        let w = load_chunk(matrix.row + n, p.chunks, c);
        for (var j = 0u; j < 8u; j++) { s = fma(src[from_row + element_group(c, j)], w[j], s); }
    }
    var sum = s.x + s.y + s.z + s.w;
    if (BIAS) { sum += bias[matrix.bias + n]; }
    dst[dst_row(t, at.z) + n] = sum;
}
