// Computes:  how many candidates, and how much weight, lie in each bin.
// Shapes:    scaled [vocab], best [groups], work as sample_bins.wgsl says: bins of (count, weight), zero before.
// Bindings:  0 scaled, 1 best, 2 work, 3 params; behind sample.wgsl and sample_bins.wgsl.
// Work:      one workgroup a chunk: grid (groups).
// Limits:    none.
@group(0) @binding(0) var<storage, read> scaled: array<f32>;
@group(0) @binding(1) var<storage, read> best: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> work: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> p: Rules;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    var mine = Best(LEAST, NONE);
    for (var g = thread; g < p.groups; g += THREADS) { mine = better(mine, unpacked(best[g])); }
    let top = best_of_all(mine, thread).value;
    let first = at.x * CHUNK;
    for (var i = thread; i < min(CHUNK, p.vocab - first); i += THREADS) {
        let distance = top - scaled[first + i];
        let bin = bin_of(distance);
        if (bin == BINS) { continue; }
        let weight = fixed(exp(-distance));
        atomicAdd(&work[3u * bin], 1u);
        let old = atomicAdd(&work[3u * bin + 1u], weight.x);
        let high = weight.y + select(0u, 1u, old + weight.x < old);
        if (high > 0u) { atomicAdd(&work[3u * bin + 2u], high); }
    }
}
