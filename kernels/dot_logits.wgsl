// Computes:  a router's logits from the parts that dot_route.wgsl has left, as choose_parts.wgsl adds them up: for what chooses
//            paged experts, and for traces.
// Shapes:    x as dot_route.wgsl leaves it; logits, the bias, and dst [EXPERTS].
// Bindings:  0 x, 1 logits (any buffer when ROUTER_BIAS is 0), 2 dst.
// Work:      one workgroup.
// Limits:    none.
const X_AT = 0;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32) {
    load_logits(thread, norm_factor(thread, norm_part(thread)));
    workgroupBarrier();
    for (var e = thread; e < EXPERTS; e += THREADS) { dst[e] = logit_of(e); }
}
