// The logits of choose.wgsl where the product that made the router's input has multiplied it, too (dot_route.wgsl): sums of PARTS
// parts each, times the norm's factor; ROUTER_BIAS: and `logits`, which is the bias. In the same order however many threads do it:
// where experts are paged another kernel finds the logits (dot_logits.wgsl), and they must be the same to the last bit.
const PARTS_AT = 11u * GROUPS / 4u;
const TEAMS = max(128u / QUADS, 1u);
var<workgroup> team_sum: array<vec4f, TEAMS * QUADS>;

fn load_logits(thread: u32, factor: f32) {
    for (var i = thread; i < TEAMS * QUADS; i += THREADS) {
        var sum = vec4f();
        for (var at = i; at < PARTS * QUADS; at += TEAMS * QUADS) { sum += bitcast<vec4f>(x[PARTS_AT + at]); }
        team_sum[i] = sum;
    }
    workgroupBarrier();
    for (var q = thread; q < QUADS; q += THREADS) {
        var sum = vec4f();
        for (var t = 0u; t < TEAMS; t++) { sum += team_sum[t * QUADS + q]; }
        let e = 4u * q + vec4u(0u, 1u, 2u, 3u);
        let own = min(e, vec4u(EXPERTS - 1u));
        var bias = vec4f();
        if (ROUTER_BIAS == 1u) { bias = vec4f(logits[own.x], logits[own.y], logits[own.z], logits[own.w]); }
        logit[q] = select(vec4f(-3.4e38), fma(sum, vec4f(factor), bias), e == own);
    }
}
