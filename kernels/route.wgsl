// Computes:  the k experts of each token and their weights. KIND 0: softmax, then top k. 1: softmax over the top k.
//            2: sigmoid with correction bias, best groups first (DeepSeek-V3). 3: sparsemixer (Phi-MoE).
// Shapes:    logits [tokens][experts], correction [experts], weights [tokens][k], ids [tokens][k]; PLACES: of one token,
//            too, placed [3][k] as choose_placed.wgsl reads it, and the weights again.
// Bindings:  0 logits, 1 correction (any buffer when CORRECTION is false), 2 weights, 3 ids, 4 placed (any buffer without
//            PLACES), 5 params.
// Work:      one workgroup a token, which scans all experts for each choice; ties go to the lower index.
// Limits:    EXPERTS experts, 64 groups, k <= 32.
struct Params { experts: u32, k: u32, groups: u32, top_groups: u32, normalise: u32, scale: f32, jitter: f32, pad: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> correction: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> placed: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
override KIND: u32 = 0;
override CORRECTION: bool = false;
override PLACES: bool = false;
override EXPERTS: u32 = 512;
override THREADS: u32 = 64; // few where barriers are slow
const NONE = -3.0e38;
var<workgroup> score: array<f32, EXPERTS>;  // what is chosen by; NONE once taken
var<workgroup> weight: array<f32, EXPERTS>; // what a choice weighs
var<workgroup> best_value: array<f32, THREADS>;
var<workgroup> best_index: array<u32, THREADS>;
var<workgroup> rank: array<f32, 64>;
var<workgroup> chosen: array<f32, 32>;

fn best(thread: u32) -> u32 {
    var value = NONE;
    var index = 0u;
    for (var e = thread; e < p.experts; e += THREADS) {
        if (score[e] > value) { value = score[e]; index = e; }
    }
    best_value[thread] = value;
    best_index[thread] = index;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) {
            let other = thread + half;
            if (best_value[other] > best_value[thread] || (best_value[other] == best_value[thread] && best_index[other] < best_index[thread])) {
                best_value[thread] = best_value[other];
                best_index[thread] = best_index[other];
            }
        }
        workgroupBarrier();
    }
    let result = best_index[0];
    workgroupBarrier();
    return result;
}

fn total(value: f32, thread: u32) -> f32 {
    best_value[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) { best_value[thread] += best_value[thread + half]; }
        workgroupBarrier();
    }
    let sum = best_value[0];
    workgroupBarrier();
    return sum;
}

// Keeps the experts of the top_groups groups with the largest sum of their two best scores.
fn mask_groups(thread: u32) {
    let size = p.experts / p.groups;
    for (var group = thread; group < p.groups; group += THREADS) {
        var first = NONE;
        var second = NONE;
        for (var e = group * size; e < (group + 1u) * size; e++) {
            if (score[e] > first) { second = first; first = score[e]; }
            else if (score[e] > second) { second = score[e]; }
        }
        rank[group] = first + second;
    }
    workgroupBarrier();
    for (var group = thread; group < p.groups; group += THREADS) {
        var better = 0u;
        for (var g = 0u; g < p.groups; g++) {
            if (rank[g] > rank[group] || (rank[g] == rank[group] && g < group)) { better++; }
        }
        if (better >= p.top_groups) {
            for (var e = group * size; e < (group + 1u) * size; e++) { score[e] = NONE; }
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let row = at.x * p.experts;
    for (var e = thread; e < p.experts; e += THREADS) {
        let logit = logits[row + e];
        score[e] = logit;
        weight[e] = logit;
        if (KIND == 2u) {
            weight[e] = 1.0 / (1.0 + exp(-logit));
            score[e] = weight[e];
            if (CORRECTION) { score[e] += correction[e]; }
        }
    }
    workgroupBarrier();
    if (KIND == 2u && p.groups > 1u) { mask_groups(thread); }
    var top = 0.0;
    var all = 1.0;
    for (var i = 0u; i < p.k; i++) {
        let e = best(thread);
        let logit = weight[e];
        if (i == 0u) {
            top = logit;
            if (KIND == 0u) {
                var sum = 0.0;
                for (var j = thread; j < p.experts; j += THREADS) { sum += exp(weight[j] - top); }
                all = total(sum, thread);
            }
        }
        var value = logit;
        if (KIND < 2u) { value = exp(logit - top) / all; }
        if (KIND == 3u) {
            // experts not yet taken whose logit lies within a relative margin of this choice's
            var sum = 0.0;
            for (var j = thread; j < p.experts; j += THREADS) {
                let near = (logit - weight[j]) / max(abs(weight[j]), logit) <= 2.0 * p.jitter;
                if (score[j] != NONE && near) { sum += exp(weight[j] - logit); }
            }
            value = 1.0 / total(sum, thread);
        }
        workgroupBarrier();
        if (thread == 0u) {
            score[e] = NONE;
            chosen[i] = value;
            ids[at.x * p.k + i] = e;
            if (PLACES) {
                placed[i] = f32(e);
                placed[p.k + i] = f32(e);
            }
        }
        workgroupBarrier();
    }
    if (thread == 0u) {
        var sum = 1.0;
        if (p.normalise != 0u) {
            sum = select(0.0, 1e-20, KIND == 2u);
            for (var i = 0u; i < p.k; i++) { sum += chosen[i]; }
        }
        for (var i = 0u; i < p.k; i++) {
            let share = chosen[i] / sum * p.scale;
            weights[at.x * p.k + i] = share;
            if (PLACES) {
                placed[2u * p.k + i] = share;
                placed[3u * p.k + i] = share;
            }
        }
    }
}
