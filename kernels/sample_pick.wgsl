// Computes:  the token drawn: the best of all chunks. Makes it the next step's token and moves the step to its position.
// Shapes:    best [groups]; tokens [1 or more]; ids [context]; drawn [1].
// Bindings:  0 step, 1 best, 2 tokens, 3 ids (any writable buffer when repeat_last is 0), 4 drawn, 5 params; behind
//            sample.wgsl.
// Work:      one workgroup.
// Limits:    none.
@group(0) @binding(0) var<storage, read_write> step: Step;
@group(0) @binding(1) var<storage, read> best: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> drawn: array<u32>;
@group(0) @binding(5) var<uniform> p: Rules;
const THREADS = 256u;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    var mine = Best(LEAST, NONE);
    for (var g = thread; g < p.groups; g += THREADS) {
        let other = best[g];
        if (bitcast<f32>(other.x) > mine.value) { mine = Best(bitcast<f32>(other.x), other.y); }
    }
    let most = best_of_all(mine, thread);
    if (thread > 0u) { return; }
    let id = select(most.owner, 0u, most.owner == NONE); // no logit is a number above LEAST: as the CPU, the first
    let position = step.position + step.count;
    tokens[0] = id;
    drawn[0] = id;
    if (p.repeat_last > 0u && position < step.context) { ids[position] = id; }
    step.position = position;
    step.count = 1u;
    step.outputs = 1u;
    step.drawn += 1u;
}
