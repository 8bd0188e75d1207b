// The experts of one token: the CHOICES largest of EXPERTS logits, ties to the lower index, and their softmax among
// themselves (NORMALISE) or among all. Every workgroup that needs them finds them anew: that is faster than a dispatch.
var<workgroup> logit: array<f32, EXPERTS>;
var<workgroup> chosen: array<u32, CHOICES>;

fn choose(thread: u32) {
    for (var e = thread; e < EXPERTS; e += THREADS) { logit[e] = logits[e]; }
    if (thread < CHOICES) { chosen[thread] = 0u; } // stands where NaNs leave no order
    workgroupBarrier();
    for (var e = thread; e < EXPERTS; e += THREADS) {
        let own = logit[e];
        var rank = 0u;
        for (var j = 0u; j < EXPERTS; j++) { rank += select(0u, 1u, logit[j] > own || (logit[j] == own && j < e)); }
        if (rank < CHOICES) { chosen[rank] = e; }
    }
    workgroupBarrier();
}

fn expert_of(choice: u32) -> u32 { return chosen[choice]; }

fn share_of(choice: u32) -> f32 {
    let top = logit[chosen[0]];
    var sum = 0.0;
    if (NORMALISE == 1u) {
        for (var i = 0u; i < CHOICES; i++) { sum += exp(logit[chosen[i]] - top); }
    } else {
        for (var e = 0u; e < EXPERTS; e++) { sum += exp(logit[e] - top); }
    }
    return exp(logit[chosen[choice]] - top) / sum;
}
