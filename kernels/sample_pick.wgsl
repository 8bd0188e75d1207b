// Computes:  the token drawn: the best of all chunks and, when `filtered`, of those listed that the filters keep. Makes it the next
//            step's token and moves the step to its position. NONE if the list is too long to tell.
// Shapes:    best [groups], when `filtered` the winners [groups] behind it; work as sample_bins.wgsl says (any buffer when not
//            `filtered`); tokens [1 or more]; ids [context]; drawn [DRAWN], a power of two: draw n at n modulo that.
// Bindings:  0 step, 1 best, 2 work, 3 tokens, 4 ids (any writable buffer when repeat_last is 0), 5 drawn, 6 params; behind
//            sample.wgsl and sample_bins.wgsl.
// Work:      one workgroup. A candidate's rank and the weight before it are counted against all others on the list, which stays in
//            work: in the workgroup's memory it would take what some devices have at most, and long to clear where that is slow.
// Limits:    none.
@group(0) @binding(0) var<storage, read_write> step: Step;
@group(0) @binding(1) var<storage, read> best: array<vec2u>;
@group(0) @binding(2) var<storage, read> work: array<u32>;
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> drawn: array<u32>;
@group(0) @binding(6) var<uniform> p: Rules;
const EACH = LIST_MAX / THREADS; // candidates of a thread
var<workgroup> kept_low: atomic<u32>; // the weight of those that top-k keeps
var<workgroup> kept_high: atomic<u32>;

fn logit_of(i: u32) -> f32 { return bitcast<f32>(work[LIST + 3u * i]); }
fn owner_of(i: u32) -> u32 { return work[LIST + 3u * i + 1u]; }
fn weight_of(i: u32) -> vec2u { return fixed(bitcast<f32>(work[LIST + 3u * i + 2u])); }

// Rank and weight before candidate i.
fn place_of(i: u32, count: u32) -> vec3u {
    let logit = logit_of(i);
    let owner = owner_of(i);
    var rank = work[HEADER + 1u];
    var weight = vec2u(work[HEADER + 2u], work[HEADER + 3u]);
    for (var j = 0u; j < count; j++) {
        let other = logit_of(j);
        if (other > logit || (other == logit && owner_of(j) < owner)) {
            rank++;
            weight = sum_of(weight, weight_of(j));
        }
    }
    return vec3u(rank, weight);
}

fn add_kept(weight: vec2u) {
    let old = atomicAdd(&kept_low, weight.x);
    atomicAdd(&kept_high, weight.y + select(0u, 1u, old + weight.x < old));
}

fn best_listed(count: u32, thread: u32) -> Best {
    let most = select(p.vocab, p.top_k, p.top_k > 0u);
    var places = array<vec3u, EACH>();
    if (thread == 0u) {
        atomicStore(&kept_low, 0u);
        atomicStore(&kept_high, 0u);
    }
    workgroupBarrier();
    for (var e = 0u; e < EACH; e++) {
        let i = e * THREADS + thread;
        if (i >= count) { continue; }
        places[e] = place_of(i, count);
        if (places[e].x < most) { add_kept(weight_of(i)); }
    }
    workgroupBarrier();
    var all = vec2u(work[HEADER + 4u], work[HEADER + 5u]);
    if (p.top_k > 0u) { all = vec2u(atomicLoad(&kept_low), atomicLoad(&kept_high)); }
    let limit = share_of(all, p.top_p);
    var mine = Best(LEAST, NONE);
    for (var e = 0u; e < EACH; e++) {
        let i = e * THREADS + thread;
        let kept = places[e].x < most && (p.top_p == 1.0 || is_less(places[e].yz, limit));
        if (i < count && kept) { mine = better(mine, run(logit_of(i), owner_of(i), step.drawn)); }
    }
    return mine;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32) {
    var mine = Best(LEAST, NONE);
    var count = 0u;
    let first = select(0u, p.groups, p.filtered != 0u);
    if (p.filtered != 0u) {
        count = work[HEADER];
        mine = best_listed(min(count, LIST_MAX), thread);
    }
    for (var g = thread; g < p.groups; g += THREADS) { mine = better(mine, unpacked(best[first + g])); }
    let most = best_of_all(mine, thread);
    if (thread > 0u) { return; }
    let position = step.position + step.count;
    let id = select(most.owner, 0u, most.owner == NONE); // no logit is a number above LEAST: as the CPU, the first
    tokens[0] = id;
    drawn[step.drawn & (DRAWN - 1u)] = select(id, NONE, count > LIST_MAX);
    if (p.repeat_last > 0u && position < step.context) { ids[position] = id; }
    step.position = position;
    step.count = 1u;
    step.outputs = 1u;
    step.drawn += 1u;
}
