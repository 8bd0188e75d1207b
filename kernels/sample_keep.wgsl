// Computes:  the winner of each chunk's race among those candidates that the filters keep for certain. Those of bins that a
//            filter's border crosses go to the list, for sample_pick.
// Shapes:    scaled [vocab], best [groups], and behind it the winners [groups]; work as sample_bins.wgsl says.
// Bindings:  0 step, 1 scaled, 2 best, 3 work, 4 params; behind sample.wgsl and sample_bins.wgsl.
// Work:      one workgroup a chunk: grid (groups). All of them find the borders, from the bins.
// Limits:    none.
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> scaled: array<f32>;
@group(0) @binding(2) var<storage, read_write> best: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> work: array<atomic<u32>>;
@group(0) @binding(4) var<uniform> p: Rules;
const EACH = BINS / THREADS; // bins of a thread
var<workgroup> counts: array<u32, THREADS>; // up to and with a thread's bins
var<workgroup> weights: array<vec2u, THREADS>;
var<workgroup> first_listed: u32; // bins before are kept,
var<workgroup> last_listed: u32;  // those behind are not
var<workgroup> before_count: u32; // candidates and weight before the first one listed
var<workgroup> before_weight: vec2u;

fn bin_weight(bin: u32) -> vec2u { return vec2u(atomicLoad(&work[3u * bin + 1u]), atomicLoad(&work[3u * bin + 2u])); }

fn sum_bins(thread: u32) {
    var count = 0u;
    var weight = vec2u(0u);
    for (var i = 0u; i < EACH; i++) {
        count += atomicLoad(&work[3u * (thread * EACH + i)]);
        weight = sum_of(weight, bin_weight(thread * EACH + i));
    }
    counts[thread] = count;
    weights[thread] = weight;
    workgroupBarrier();
    for (var step_back = 1u; step_back < THREADS; step_back *= 2u) {
        if (thread >= step_back) {
            count += counts[thread - step_back];
            weight = sum_of(weight, weights[thread - step_back]);
        }
        workgroupBarrier();
        counts[thread] = count;
        weights[thread] = weight;
        workgroupBarrier();
    }
}

// With top-k its border is looked for; top-p then takes its share of what is listed, which is everything. Without, top-p's.
fn find_border(thread: u32, cut: bool) {
    let limit = share_of(weights[THREADS - 1u], p.top_p);
    var count = 0u;
    var weight = vec2u(0u);
    if (thread > 0u) {
        count = counts[thread - 1u];
        weight = weights[thread - 1u];
    }
    for (var i = 0u; i < EACH; i++) {
        let bin = thread * EACH + i;
        let next_count = count + atomicLoad(&work[3u * bin]);
        let next_weight = sum_of(weight, bin_weight(bin));
        let crossed = select(is_less(weight, limit) && !is_less(next_weight, limit), count < p.top_k && next_count >= p.top_k, cut);
        if (crossed) {
            first_listed = bin;
            last_listed = bin;
            before_count = count;
            before_weight = weight;
        }
        count = next_count;
        weight = next_weight;
    }
}

fn find_borders(thread: u32) {
    let cut = p.top_k > 0u;
    let shared_out = p.top_p < 1.0;
    if (thread == 0u) {
        first_listed = BINS; // all are kept
        last_listed = BINS;
        before_count = 0u;
        before_weight = vec2u(0u);
    }
    workgroupBarrier();
    if (cut || shared_out) { find_border(thread, cut); }
    workgroupBarrier();
    if (thread == 0u && cut && shared_out) {
        first_listed = 0u;
        before_count = 0u;
        before_weight = vec2u(0u);
    }
    workgroupBarrier();
}

fn put_header() {
    let all = weights[THREADS - 1u];
    atomicStore(&work[HEADER + 1u], before_count);
    atomicStore(&work[HEADER + 2u], before_weight.x);
    atomicStore(&work[HEADER + 3u], before_weight.y);
    atomicStore(&work[HEADER + 4u], all.x);
    atomicStore(&work[HEADER + 5u], all.y);
}

fn list(logit: f32, id: u32, weight: f32) {
    let place = atomicAdd(&work[HEADER], 1u);
    if (place >= LIST_MAX) { return; }
    atomicStore(&work[LIST + 3u * place], bitcast<u32>(logit));
    atomicStore(&work[LIST + 3u * place + 1u], id);
    atomicStore(&work[LIST + 3u * place + 2u], bitcast<u32>(weight));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    var mine = Best(LEAST, NONE);
    for (var g = thread; g < p.groups; g += THREADS) { mine = better(mine, unpacked(best[g])); }
    let top = best_of_all(mine, thread).value;
    if (p.top_k > 0u || p.top_p < 1.0) { sum_bins(thread); }
    find_borders(thread);
    if (at.x == 0u && thread == 0u) { put_header(); }
    let first = at.x * CHUNK;
    mine = Best(LEAST, NONE);
    for (var i = thread; i < min(CHUNK, p.vocab - first); i += THREADS) {
        let logit = scaled[first + i];
        let bin = bin_of(top - logit);
        if (bin == BINS || !is_heavy(top - logit)) { continue; }
        if (bin < first_listed) { mine = better(mine, run(logit, first + i, step.drawn)); }
        else if (bin <= last_listed) { list(logit, first + i, exp(logit - top)); }
    }
    let winner = best_of_all(mine, thread);
    if (thread == 0u) { best[p.groups + at.x] = packed(winner); }
}
