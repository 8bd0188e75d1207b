// The experts of one token as the product before this one has found them (dot_experts_act.wgsl): behind its packed rows x
// stand, for each choice, where its weights are, its expert, and its share.
const MADE = GROUPS * 11u / 4u;
var<workgroup> chosen: array<u32, CHOICES>;
var<workgroup> named: array<u32, CHOICES>;
var<workgroup> share: array<f32, CHOICES>;

fn choose(thread: u32) {
    if (thread < CHOICES) {
        let made = x[MADE + thread];
        chosen[thread] = made.x;
        named[thread] = made.y;
        share[thread] = bitcast<f32>(made.z);
    }
    workgroupBarrier();
}

fn expert_of(choice: u32) -> u32 { return named[choice]; }
fn share_of(choice: u32) -> f32 { return share[choice]; }
