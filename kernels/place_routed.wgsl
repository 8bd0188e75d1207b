// Computes:  where the experts are that route.wgsl has chosen for one token, for products that are not fused; and what
//            place_keep.wgsl says. FUSED: for choose_placed.wgsl; their shares route.wgsl has put behind.
// Shapes:    ids, places [CHOICES]: slot | expert << 16. FUSED: places [4][CHOICES]: slots, experts, shares, as floats, and
//            the shares as route.wgsl left them.
// Bindings:  0 ids, 5 places, and those of place_keep.wgsl.
// Work:      grid (1 + p.row / 64, 1 or 0).
// Limits:    64 choices. Behind place_keep.wgsl and place_table.wgsl or place_fetch.wgsl.
@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> places: array<u32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    if (at.x > 0u) {
        keep((at.x - 1u) * THREADS + thread);
        return;
    }
    var expert = 0u;
    if (thread < CHOICES) { expert = expert_for(thread, ids[thread]); }
    take_slots(thread, expert);
    if (thread >= CHOICES) { return; }
    if (FUSED == 1u) {
        places[thread] = bitcast<u32>(f32(slot_of(expert)));
        places[CHOICES + thread] = bitcast<u32>(f32(expert));
        let share = bitcast<f32>(places[3u * CHOICES + thread]);
        places[2u * CHOICES + thread] = bitcast<u32>(share_for(thread, expert, share));
    } else {
        places[thread] = slot_of(expert) | (expert << 16u);
    }
}
