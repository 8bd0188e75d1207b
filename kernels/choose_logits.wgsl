// The logits of choose.wgsl where the router has a dispatch of its own.
fn load_logits(thread: u32, factor: f32) {
    for (var e = thread; e < 4u * QUADS; e += THREADS) { logit[e / 4u][e % 4u] = select(-3.4e38, logits[min(e, EXPERTS - 1u)], e < EXPERTS); }
}
