// Computes:  MODE 0: dst[o] = src[count - outputs + o], the rows whose logits are wanted.
//            MODE 1: dst[t] = sum over i < k of weights[t][i] * src[t][i], the experts' outputs.
// Shapes:    src [tokens][k][cols] (k 1 in MODE 0), weights [tokens][k], dst [rows][cols].
// Bindings:  0 step, 1 src, 2 weights (any buffer in MODE 0), 3 dst, 4 params.
// Work:      one thread a column of a row: grid (cols / 256, rows).
// Limits:    none.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params { cols: u32, k: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override MODE: u32 = 0;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= p.cols) { return; }
    if (MODE == 0u) {
        dst[id.y * p.cols + id.x] = src[(step.count - step.outputs + id.y) * p.cols + id.x];
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < p.k; i++) {
        let pair = id.y * p.k + i;
        sum += weights[pair] * src[pair * p.cols + id.x];
    }
    dst[id.y * p.cols + id.x] = sum;
}
