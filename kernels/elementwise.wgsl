// Computes:  KIND 0: dst = src + src2.  1: silu(src) * src2.  2: gelu (tanh form) * src2.  3: gelu (erf form) * src2.
//            4: gpt-oss's clamped SwiGLU.  5: limit * tanh(src / limit).
// Shapes:    all [rows][cols] f32; rows = tokens of the step, or its wanted outputs when OUTPUTS.
// Bindings:  0 step, 1 src, 2 src2 (any buffer for KIND 5), 3 dst, 4 params. In place: dst stands for src, and src is not read.
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

// tanh overflows to NaN for large arguments on some drivers.
fn safe_tanh(x: f32) -> f32 { return tanh(clamp(x, -10.0, 10.0)); }

// Abramowitz and Stegun 7.1.26, error below 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - poly * exp(-x * x));
}

fn apply(a: f32, b: f32) -> f32 {
    switch KIND {
        case 0u: { return a + b; }
        case 1u: { return a / (1.0 + exp(-a)) * b; }
        case 2u: { return 0.5 * a * (1.0 + safe_tanh(0.7978845608 * (a + 0.044715 * a * a * a))) * b; }
        case 3u: { return 0.5 * a * (1.0 + erf(a * 0.7071067812)) * b; }
        case 4u: {
            let gate = min(a, p.limit);
            let up = clamp(b, -p.limit, p.limit);
            return gate / (1.0 + exp(-p.alpha * gate)) * (up + 1.0);
        }
        default: { return p.limit * safe_tanh(a / p.limit); }
    }
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let rows = select(step.count, step.outputs, OUTPUTS);
    for (var i = id.x; i < rows * p.cols; i += groups.x * 256u) {
        var a = 0.0;
        if (IN_PLACE) { a = dst[i]; } else { a = src[i]; }
        var b = 0.0;
        if (KIND != 5u) { b = src2[i]; }
        dst[i] = apply(a, b);
    }
}
