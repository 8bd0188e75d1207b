// Computes:  attention_token.wgsl where all subgroups have SUBGROUP invocations, 8 or more: eight of them share a key and keep
//            sums of their own, so that there is no barrier before the end. Written out for each head (h), key of a round (r)
//            and vector of a key or value (c), so that all of it stays in registers.
// Shapes, bindings, work: there.
// Limits:    ROUND is KEYS / 32, K_OWN and V_OWN are K_DIM / 64 and V_DIM / 64, rounded up.
const TEAMS = THREADS / SHARE; // keys at a time
const GROUPS = THREADS / SUBGROUP;
var<workgroup> sums: array<array<f32, V_DIM>, GROUPS>;
var<workgroup> totals: array<vec2f, GROUPS>; // weights, and what they are relative to

fn team_sum(x: f32) -> f32 {
    let a = x + subgroupShuffleXor(x, 4u);
    let b = a + subgroupShuffleXor(a, 2u);
    return b + subgroupShuffleXor(b, 1u);
}

// Four columns of the token's own value.
fn own_four(kv_head: u32, column: u32) -> vec4f {
    return vec4f(half_of(own_value(kv_head, column)), half_of(own_value(kv_head, column + 1u)), half_of(own_value(kv_head, column + 2u)),
                 half_of(own_value(kv_head, column + 3u)));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let head = at.y * HEADS;
    let kv_head = head / (p.heads / p.kv_heads);
    let range = range_of(at.x);
    if (range.idle) { return; }
    load_vectors(head, kv_head, thread);
    turn(thread);
    if (at.x == 0u && head % (p.heads / p.kv_heads) == 0u) { write_cache(kv_head, thread); }

    let keys = kv_head * p.capacity;
    let values = p.kv_heads * K_PARTS * p.capacity;
    let start = range.begin % p.capacity; // of the ring
    let team = thread / SHARE;
    let lane = thread % SHARE;
    let first = at.x == 0u && team == 0u; // the token's own key and value belong to the first team
    //#each c K_OWN
    let k_at#c# = min(lane + #c#u * SHARE, K_PARTS - 1u);
    let k_keep#c# = select(0.0, 1.0, lane + #c#u * SHARE < K_PARTS);
    //#end
    //#each c V_OWN
    let v_at#c# = min(lane + #c#u * SHARE, V_PARTS - 1u);
    let own_low#c# = own_four(kv_head, 8u * v_at#c#);
    let own_high#c# = own_four(kv_head, 8u * v_at#c# + 4u);
    //#end
    //#each h HEADS
    var own#h# = 0.0;
    //#each c K_OWN
    let q_low#h#_#c# = k_keep#c# * turned[#h#u * K_DIM / 4u + 2u * k_at#c#];
    let q_high#h#_#c# = k_keep#c# * turned[#h#u * K_DIM / 4u + 2u * k_at#c# + 1u];
    own#h# += dot(q_low#h#_#c#, turned[HEADS * K_DIM / 4u + 2u * k_at#c#]) + dot(q_high#h#_#c#, turned[HEADS * K_DIM / 4u + 2u * k_at#c# + 1u]);
    //#end
    var top#h# = select(-1e30, finish(team_sum(own#h#)), first);
    var sum#h# = select(0.0, 1.0, first);
    //#each c V_OWN
    var low#h#_#c# = select(vec4f(0.0), own_low#c#, first);
    var high#h#_#c# = select(vec4f(0.0), own_high#c#, first);
    //#end
    //#end
    for (var round = range.begin; round < range.end; round += KEYS) {
        //#each r ROUND
        let i#r# = start + min(round + #r#u * TEAMS + team, range.end - 1u) - range.begin;
        let place#r# = keys + select(i#r#, i#r# - p.capacity, i#r# >= p.capacity);
        let valid#r# = round + #r#u * TEAMS + team < range.end;
        //#each c K_OWN
        let k#r#_#c# = cache[place#r# * K_PARTS + k_at#c#];
        //#end
        //#each c V_OWN
        let v#r#_#c# = cache[values + place#r# * V_PARTS + v_at#c#];
        //#end
        //#end
        //#each r ROUND
        //#each h HEADS
        var score#r#_#h# = 0.0;
        //#end
        //#each c K_OWN
        let k_low#r#_#c# = low_of(k#r#_#c#);
        let k_high#r#_#c# = high_of(k#r#_#c#);
        //#each h HEADS
        score#r#_#h# += dot(k_low#r#_#c#, q_low#h#_#c#) + dot(k_high#r#_#c#, q_high#h#_#c#);
        //#end
        //#end
        //#each h HEADS
        score#r#_#h# = select(-2e30, finish(team_sum(score#r#_#h#)), valid#r#);
        //#end
        //#end
        //#each h HEADS
        var now#h# = top#h#;
        //#each r ROUND
        now#h# = max(now#h#, score#r#_#h#);
        //#end
        let keep#h# = exp(top#h# - now#h#);
        top#h# = now#h#;
        sum#h# *= keep#h#;
        //#each c V_OWN
        low#h#_#c# *= keep#h#;
        high#h#_#c# *= keep#h#;
        //#end
        //#each r ROUND
        let weight#r#_#h# = exp(score#r#_#h# - now#h#);
        sum#h# += weight#r#_#h#;
        //#end
        //#end
        //#each r ROUND
        //#each c V_OWN
        let v_low#r#_#c# = low_of(v#r#_#c#);
        let v_high#r#_#c# = high_of(v#r#_#c#);
        //#each h HEADS
        low#h#_#c# = fma(vec4f(weight#r#_#h#), v_low#r#_#c#, low#h#_#c#);
        high#h#_#c# = fma(vec4f(weight#r#_#h#), v_high#r#_#c#, high#h#_#c#);
        //#end
        //#end
        //#end
    }
    let group = thread / SUBGROUP;
    //#each h HEADS
    for (var far = SHARE; far < SUBGROUP; far *= 2u) { // join the teams of a subgroup
        let now = max(top#h#, subgroupShuffleXor(top#h#, far));
        let keep = exp(top#h# - now);
        top#h# = now;
        sum#h# *= keep;
        sum#h# += subgroupShuffleXor(sum#h#, far);
        //#each c V_OWN
        low#h#_#c# *= keep;
        low#h#_#c# += subgroupShuffleXor(low#h#_#c#, far);
        high#h#_#c# *= keep;
        high#h#_#c# += subgroupShuffleXor(high#h#_#c#, far);
        //#end
    }
    if (thread % SUBGROUP < SHARE) {
        //#each c V_OWN
        if (lane + #c#u * SHARE < V_PARTS) {
            for (var j = 0u; j < 4u; j++) {
                sums[group][8u * v_at#c# + j] = low#h#_#c#[j];
                sums[group][8u * v_at#c# + 4u + j] = high#h#_#c#[j];
            }
        }
        //#end
        if (lane == 0u) { totals[group] = vec2f(sum#h#, top#h#); }
    }
    workgroupBarrier();
    if (thread < V_DIM) {
        var highest = totals[0].y;
        for (var g = 1u; g < GROUPS; g++) { highest = max(highest, totals[g].y); }
        var value = 0.0;
        var total = 0.0;
        for (var g = 0u; g < GROUPS; g++) {
            let weight = exp(totals[g].y - highest);
            value += weight * sums[g][thread];
            total += weight * totals[g].x;
        }
        emit(head + #h#u, #h#u, at.x, thread, value, total, highest);
    }
    workgroupBarrier();
    //#end
    pack_result(head, thread);
}
