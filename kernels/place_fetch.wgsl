// Behind place_keep.wgsl where the device fetches experts itself: those of the token that are in no slot take the slots of the
// layer's experts that are worth least, and fetch.wgsl, which comes next, finds in the record what to copy where. All slots hold an
// expert, and there are as many as a token has at least. An expert's worth: page/cache.c.
// Shapes:    table: from p.uses on, the layer's steps; for each expert the step that last used it; then its score as of then.
//            record: from p.fetched on, for each choice the slot it is to be copied to, or NONE.
@group(0) @binding(1) var<storage, read_write> table: array<u32>;
var<workgroup> chosen_experts: array<u32, CHOICES>;
var<workgroup> lacks: array<u32, CHOICES>;
var<workgroup> least: array<f32, THREADS>;
var<workgroup> least_expert: array<u32, THREADS>;

fn slot_of(expert: u32) -> u32 { return table[p.table + expert]; }

fn is_chosen(expert: u32) -> bool {
    for (var i = 0u; i < CHOICES; i++) {
        if (chosen_experts[i] == expert) { return true; }
    }
    return false;
}

// As of this step.
fn score_of(expert: u32, clock: u32) -> f32 {
    let age = f32(clock - table[p.uses + 1u + expert]);
    return bitcast<f32>(table[p.uses + 1u + p.experts + expert]) * exp2(-age / bitcast<f32>(p.half_life));
}

fn worth_of(expert: u32, clock: u32) -> f32 {
    if (p.half_life == 0u) { return -f32(clock - table[p.uses + 1u + expert]); }
    return score_of(expert, clock);
}

fn find_least(thread: u32, clock: u32) {
    var worth = 3.4e38;
    var found = NONE;
    for (var e = thread; e < p.experts; e += THREADS) {
        if (slot_of(e) == NONE || is_chosen(e)) { continue; }
        let own = worth_of(e, clock);
        if (found == NONE || own < worth) {
            worth = own;
            found = e;
        }
    }
    least[thread] = worth;
    least_expert[thread] = found;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half && least_expert[thread + half] != NONE && (least_expert[thread] == NONE || least[thread + half] < least[thread])) {
            least[thread] = least[thread + half];
            least_expert[thread] = least_expert[thread + half];
        }
        workgroupBarrier();
    }
}

// The expert of a choice, where no choice before has the same.
fn note(choice: u32, expert: u32) {
    var first = true;
    for (var i = 0u; i < choice; i++) { first = first && chosen_experts[i] != expert; }
    lacks[choice] = u32(first && slot_of(expert) == NONE);
    record[p.fetched + choice] = NONE;
}

fn use_expert(choice: u32, expert: u32, clock: u32) {
    if (p.half_life != 0u) { table[p.uses + 1u + p.experts + expert] = bitcast<u32>(score_of(expert, clock) + 1.0); }
    table[p.uses + 1u + expert] = clock;
}

fn take_slots(thread: u32, expert: u32) {
    let clock = table[p.uses] + 1u;
    if (thread < CHOICES) { chosen_experts[thread] = expert; }
    workgroupBarrier();
    if (thread < CHOICES) { note(thread, expert); }
    storageBarrier();
    workgroupBarrier();
    for (var c = 0u; c < CHOICES; c++) {
        if (workgroupUniformLoad(&lacks[c]) == 0u) { continue; }
        find_least(thread, clock);
        if (thread == 0u) {
            let goes = least_expert[0];
            let slot = slot_of(goes);
            table[p.table + goes] = NONE;
            table[p.table + chosen_experts[c]] = slot;
            record[p.fetched + c] = slot;
        }
        storageBarrier();
        workgroupBarrier();
    }
    if (thread < CHOICES) { use_expert(thread, expert, clock); }
    storageBarrier();
    if (thread == 0u) { table[p.uses] = clock; }
}
