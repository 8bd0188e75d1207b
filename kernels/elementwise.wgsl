// Computes:  KIND 0: dst = src + src2.  1: silu(src) * src2.  2: gelu (tanh form) * src2.  3: gelu (erf form) * src2.
//            4: gpt-oss's clamped SwiGLU.  5: limit * tanh(src / limit).
// Shapes:    all [rows][cols] f32; rows = tokens of the step, or its wanted outputs when OUTPUTS.
// Bindings:  0 step, 1 src, 2 src2 (any buffer for KIND 5), 3 dst, 4 params; behind act.wgsl. In place: dst stands for src, and src is not read.
// Work:      one thread an element, grid-stride.
// Limits:    rows * cols below 2^32.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params { cols: u32, alpha: f32, limit: f32, pad: u32 }
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> src2: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override KIND: u32 = 0;
override IN_PLACE: bool = false;
override OUTPUTS: bool = false;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let rows = select(step.count, step.outputs, OUTPUTS);
    for (var i = id.x; i < rows * p.cols; i += groups.x * 256u) {
        var a = 0.0;
        if (IN_PLACE) { a = dst[i]; } else { a = src[i]; }
        var b = 0.0;
        if (KIND != 5u) { b = src2[i]; }
        dst[i] = activate(KIND, a, b, p.alpha, p.limit);
    }
}
