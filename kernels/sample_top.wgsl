// Computes:  the logits with repetition penalty and temperature, and the greatest of each chunk of ids, or the winner of each
//            chunk's race (sample.wgsl: run).
// Shapes:    logits [outputs][vocab], of which the last row counts; ids [position]; scaled [vocab]; best [groups]; work as
//            sample_bins.wgsl says, made zero. scaled and work only when `filtered`.
// Bindings:  0 step, 1 logits, 2 ids (any buffer when repeat_last is 0), 3 scaled, 4 best, 5 work, 6 params; behind sample.wgsl
//            and sample_bins.wgsl.
// Work:      one workgroup a chunk: grid (groups).
// Limits:    none.
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> scaled: array<f32>;
@group(0) @binding(4) var<storage, read_write> best: array<vec2u>;
@group(0) @binding(5) var<storage, read_write> work: array<u32>;
@group(0) @binding(6) var<uniform> p: Rules;
var<workgroup> seen: array<atomic<u32>, 32>; // a bit per id of the chunk

fn mark_seen(first: u32, thread: u32) {
    if (thread < CHUNK / 32u) { atomicStore(&seen[thread], 0u); }
    workgroupBarrier();
    let end = step.position + step.count;
    for (var i = end - min(end, p.repeat_last) + thread; i < end; i += THREADS) {
        let at = ids[i] - first;
        if (at < CHUNK) { atomicOr(&seen[at / 32u], 1u << (at % 32u)); }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let first = at.x * CHUNK;
    let row = (step.outputs - 1u) * p.vocab;
    if (p.repeat_last > 0u) { mark_seen(first, thread); }
    if (p.filtered != 0u) {
        for (var i = at.x * THREADS + thread; i < LIST; i += p.groups * THREADS) { work[i] = 0u; }
    }
    var mine = Best(LEAST, NONE);
    for (var i = thread; i < min(CHUNK, p.vocab - first); i += THREADS) {
        let id = first + i;
        var logit = logits[row + id];
        if (p.repeat_last > 0u && ((atomicLoad(&seen[i / 32u]) >> (i % 32u)) & 1u) == 1u) {
            logit = select(logit * p.penalty, logit / p.penalty, logit > 0.0);
        }
        if (p.temperature > 0.0) { logit /= p.temperature; }
        if (p.filtered != 0u) { scaled[id] = logit; }
        if (p.race != 0u) { mine = better(mine, run(logit, id, step.drawn)); } else { mine = better(mine, Best(logit, id)); }
    }
    let most = best_of_all(mine, thread);
    if (thread == 0u) { best[at.x] = packed(most); }
}
