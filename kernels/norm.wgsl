// Computes:  dst = (x - mean) / sqrt(variance + eps) * (weight + offset) + bias per group; RMSNorm leaves the mean out.
// Shapes:    src, dst [rows][cols]; `groups` groups of `group` columns, `stride` apart; weight, bias [group].
// Bindings:  0 step, 1 src, 2 weight, 3 bias (any buffer when BIAS is false), 4 dst, 5 params.
// Work:      one workgroup a (row, group): grid (groups, rows).
// Limits:    THREADS a power of two.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params { cols: u32, group: u32, stride: u32, eps: f32, offset: f32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> dst: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
override LAYER: bool = false;
override BIAS: bool = false;
override IN_PLACE: bool = false;
override THREADS: u32 = 256;
var<workgroup> partial: array<f32, THREADS>;

fn total(value: f32, thread: u32) -> f32 {
    partial[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

fn load(i: u32) -> f32 {
    if (IN_PLACE) { return dst[i]; }
    return src[i];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let base = at.y * p.cols + at.x * p.stride;
    var mean = 0.0;
    if (LAYER) {
        var sum = 0.0;
        for (var i = thread; i < p.group; i += THREADS) { sum += load(base + i); }
        mean = total(sum, thread) / f32(p.group);
    }
    var square = 0.0;
    for (var i = thread; i < p.group; i += THREADS) {
        let d = load(base + i) - mean;
        square += d * d;
    }
    let scale = inverseSqrt(total(square, thread) / f32(p.group) + p.eps);
    for (var i = thread; i < p.group; i += THREADS) {
        var value = (load(base + i) - mean) * scale * (weight[i] + p.offset);
        if (BIAS) { value += bias[i]; }
        dst[base + i] = value;
    }
}
