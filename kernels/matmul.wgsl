// Computes:  dst[t][n] = sum_k src[t][k] * W[n][k] (+ bias[n]) for many tokens, in tiles of 64 x 64.
// Shapes:    src [rows][32 * chunks], W [n][32 * chunks], dst [rows][cols], of which n are written; behind a format_*.wgsl.
// Bindings:  2 step, 3 src, 4 bias (any buffer when BIAS is false), 5 dst, 6 params.
// Work:      64 threads a tile, each 8 x 8 outputs; a chunk of 32 columns at a time through workgroup memory, where each
//            thread unpacks one row of W. Grid (n / 64, rows / 64).
// Limits:    16 KiB of workgroup memory.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params { n: u32, chunks: u32, cols: u32, pad: u32 }
@group(0) @binding(2) var<storage, read> step: Step;
@group(0) @binding(3) var<storage, read> src: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override BIAS: bool = false;
override OUTPUTS: bool = false;
// [j][row]: neighbouring threads read neighbouring rows.
var<workgroup> xs: array<array<vec4f, 64>, 8>;
var<workgroup> wt: array<array<vec4f, 64>, 8>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let rows = select(step.count, step.outputs, OUTPUTS);
    let my_t = at.y * 64u + thread;
    let my_n = at.x * 64u + thread;
    let tx = thread % 8u;
    let ty = thread / 8u;
    var sums: array<array<f32, 8>, 8>;
    for (var c = 0u; c < p.chunks; c++) {
        var w: array<vec4f, 8>;
        if (my_n < p.n) { w = load_chunk(my_n, p.chunks, c); }
        for (var j = 0u; j < 8u; j++) {
            wt[j][thread] = w[j];
            var x = vec4f(0.0);
            if (my_t < rows) { x = src[my_t * p.chunks * 8u + element_group(c, j)]; }
            xs[j][thread] = x;
        }
        workgroupBarrier();
        for (var j = 0u; j < 8u; j++) {
            var b: array<vec4f, 8>;
            for (var i = 0u; i < 8u; i++) { b[i] = wt[j][tx + 8u * i]; }
            for (var a = 0u; a < 8u; a++) {
                let x = xs[j][ty + 8u * a];
                for (var i = 0u; i < 8u; i++) { sums[a][i] += dot(x, b[i]); }
            }
        }
        workgroupBarrier();
    }
    for (var a = 0u; a < 8u; a++) {
        let t = at.y * 64u + ty + 8u * a;
        for (var i = 0u; i < 8u; i++) {
            let n = at.x * 64u + tx + 8u * i;
            if (t < rows && n < p.n) {
                var value = sums[a][i];
                if (BIAS) { value += bias[n]; }
                dst[t * p.cols + n] = value;
            }
        }
    }
}
