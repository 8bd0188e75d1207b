// A router of EXPERTS rows behind the norm that a product prepares: each workgroup multiplies the columns that it has made, which
// dot_pack.wgsl holds, and leaves its part of the sums behind the packed row: [MATRIX0 / TILE][EXPERTS, of whole fours].
// choose_parts.wgsl adds them up, which is faster than a dispatch for the router. EXPERTS 0: nothing of this.
@group(0) @binding(7) var<storage, read> router: array<vec4f>; // [EXPERTS][MATRIX0]
const QUARTERS = TILE / 4u;
const ROUTED = EXPERTS * QUARTERS;
const EACH = max((ROUTED + THREADS - 1u) / THREADS, 1u);
var<workgroup> routed: array<array<f32, QUARTERS>, max(EXPERTS, 1u)>;

// A thread's part of the router: to be fetched before the products.
fn fetch_router(tile: u32, thread: u32) -> array<vec4f, EACH> {
    var w = array<vec4f, EACH>();
    if (EXPERTS == 0u) { return w; }
    for (var i = 0u; i < EACH; i++) {
        let at = min(thread + i * THREADS, ROUTED - 1u);
        w[i] = router[at / QUARTERS * (MATRIX0 / 4u) + tile * QUARTERS + at % QUARTERS];
    }
    return w;
}

fn route(tile: u32, thread: u32, w: array<vec4f, EACH>) {
    if (EXPERTS == 0u) { return; }
    for (var i = 0u; i < EACH; i++) {
        let at = thread + i * THREADS;
        if (at < ROUTED) { routed[at / QUARTERS][at % QUARTERS] = dot(values[at % QUARTERS], w[i]); }
    }
    workgroupBarrier();
    for (var e = thread; e < EXPERTS; e += THREADS) {
        var sum = 0.0;
        for (var q = 0u; q < QUARTERS; q++) { sum += routed[e][q]; }
        packed[11u * (MATRIX0 / 16u) + tile * ((EXPERTS + 3u) / 4u * 4u) + e] = bitcast<u32>(sum);
    }
}
