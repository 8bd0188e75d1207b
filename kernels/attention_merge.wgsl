// Computes:  joins attention's partial results by log-sum-exp: o = sum_i e^(m_i - M) o_i / (sum_i e^(m_i - M) l_i [+ sink]).
// Shapes:    partial [tokens][heads][SPLITS][v_dim + 2] (o, m, l), dst [tokens][heads][v_dim].
// Bindings:  0 partial, 1 sinks (any buffer when SINKS is false), 2 dst, 3 params.
// Work:      one workgroup a (head, token): grid (heads, tokens).
// Limits:    none.
struct Params { heads: u32, v_dim: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read> sinks: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override SINKS: bool = false;
override SPLITS: u32 = 1;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let row = at.y * p.heads + at.x;
    let size = p.v_dim + 2u;
    var top = -1e30;
    if (SINKS) { top = sinks[at.x]; }
    for (var i = 0u; i < SPLITS; i++) { top = max(top, partial[(row * SPLITS + i) * size + p.v_dim]); }
    var total = 0.0;
    if (SINKS) { total = exp(sinks[at.x] - top); }
    for (var i = 0u; i < SPLITS; i++) {
        let base = (row * SPLITS + i) * size + p.v_dim;
        total += exp(partial[base] - top) * partial[base + 1u];
    }
    for (var c = thread; c < p.v_dim; c += 64u) {
        var sum = 0.0;
        for (var i = 0u; i < SPLITS; i++) {
            let base = (row * SPLITS + i) * size;
            sum += exp(partial[base + p.v_dim] - top) * partial[base + c];
        }
        dst[row * p.v_dim + c] = sum / total;
    }
}
