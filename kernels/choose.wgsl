// The experts of one token: the CHOICES largest of EXPERTS logits, ties to the lower index, and their softmax among
// themselves (NORMALISE) or among all. Every workgroup that needs them finds them anew: that is faster than a dispatch.
// An expert's rank is how many logits stand before its own: lower indices where they are as large, higher ones where they are
// larger. Only within the NEAR vectors of four around it has each to be looked at; they are the same for threads that run together.
// Behind a choose_logits.wgsl or choose_parts.wgsl, which leaves the logits.
const QUADS = (EXPERTS + 3u) / 4u;
const NEAR = 8u;
var<workgroup> logit: array<vec4f, QUADS>;
var<workgroup> chosen: array<u32, CHOICES>;

fn logit_of(e: u32) -> f32 { return logit[e / 4u][e % 4u]; }
fn ones(which: vec4<bool>) -> vec4u { return select(vec4u(0u), vec4u(1u), which); }

fn rank_of(e: u32) -> u32 {
    let own = vec4f(logit_of(e));
    let begin = e / (4u * NEAR) * NEAR;
    let end = min(begin + NEAR, QUADS);
    var before = vec4u();
    for (var i = 0u; i < begin; i++) { before += ones(logit[i] >= own); }
    for (var i = begin; i < end; i++) {
        let larger = logit[i] > own;
        before += ones(larger | ((logit[i] == own) & (4u * i + vec4u(0u, 1u, 2u, 3u) < vec4u(e))));
    }
    for (var i = end; i < QUADS; i++) { before += ones(logit[i] > own); }
    return before.x + before.y + before.z + before.w;
}

// factor: of the norm that the router's input may still want.
fn choose(thread: u32, factor: f32) {
    load_logits(thread, factor);
    if (thread < CHOICES) { chosen[thread] = 0u; } // stands where NaNs leave no order
    workgroupBarrier();
    for (var e = thread; e < EXPERTS; e += THREADS) {
        let rank = rank_of(e);
        if (rank < CHOICES) { chosen[rank] = e; }
    }
    workgroupBarrier();
}

fn expert_of(choice: u32) -> u32 { return chosen[choice]; }

fn share_of(choice: u32) -> f32 {
    let top = logit_of(chosen[0]);
    var sum = 0.0;
    if (NORMALISE == 1u) {
        for (var i = 0u; i < CHOICES; i++) { sum += exp(logit_of(chosen[i]) - top); }
    } else {
        var four = vec4f();
        for (var i = 0u; i < QUADS; i++) { four += exp(logit[i] - vec4f(top)); }
        sum = four.x + four.y + four.z + four.w;
    }
    return exp(logit_of(chosen[choice]) - top) / sum;
}
