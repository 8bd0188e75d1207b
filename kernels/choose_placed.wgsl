// The experts of one token that place.wgsl has chosen, where a layer's experts share a few slots: `logits` holds, for each choice,
// the slot that its weights are in, then its expert, then its share, all as floats.
var<workgroup> chosen: array<u32, CHOICES>;

fn choose(thread: u32, factor: f32) {
    if (thread < CHOICES) { chosen[thread] = u32(logits[thread]); }
    workgroupBarrier();
}

fn expert_of(choice: u32) -> u32 { return u32(logits[CHOICES + choice]); }

fn share_of(choice: u32) -> f32 { return logits[2u * CHOICES + choice]; }
