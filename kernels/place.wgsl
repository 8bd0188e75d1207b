// Computes:  the experts of one token, their shares and the slots that their weights are in, for choose_placed.wgsl; and what
//            place_keep.wgsl says.
// Shapes:    logits [EXPERTS]; placed [3][CHOICES]: slots, experts, shares.
// Bindings:  0 logits, 5 placed, and those of place_keep.wgsl.
// Work:      grid (1 + (p.row + p.packed) / 64, 1 or 0).
// Limits:    those of choose.wgsl, which goes in front, as do place_keep.wgsl and place_table.wgsl or place_fetch.wgsl.
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(5) var<storage, read_write> placed: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    if (at.x > 0u) {
        keep((at.x - 1u) * THREADS + thread);
        return;
    }
    choose(thread, 1.0);
    var expert = 0u;
    if (thread < CHOICES) { expert = expert_for(thread, expert_of(thread)); }
    take_slots(thread, expert);
    if (thread >= CHOICES) { return; }
    placed[thread] = f32(slot_of(expert));
    placed[CHOICES + thread] = f32(expert);
    placed[2u * CHOICES + thread] = share_for(thread, expert, share_of(thread));
}
