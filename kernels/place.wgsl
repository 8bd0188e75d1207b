// Computes:  the experts of one token and their shares, for the host, which sees to it that their weights are in slots, and for
//            choose_placed.wgsl.
// Shapes:    logits [EXPERTS]; ids [CHOICES]; placed [3][CHOICES]: slots (the host's part), experts, shares.
// Bindings:  0 logits, 1 ids, 2 placed, 3 params (none).
// Work:      one workgroup: grid (1, 1 or 0).
// Limits:    those of choose.wgsl, which goes in front.
struct Params { pad0: u32, pad1: u32, pad2: u32, pad3: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> placed: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
const THREADS = 64u;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) thread: u32) {
    choose(thread);
    if (thread >= CHOICES) { return; }
    ids[thread] = expert_of(thread);
    placed[CHOICES + thread] = f32(expert_of(thread));
    placed[2u * CHOICES + thread] = share_of(thread);
}
