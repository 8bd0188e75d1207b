// Computes:  RoPE of a token's queries and key, its key and value into the cache, and causal attention with an online softmax.
// Shapes:    joined: q [HEADS][2 * K_WORDS], k [KV_HEADS][2 * K_WORDS], v [KV_HEADS][2 * V_WORDS]; the cache of f16 as in
//            kv_write.wgsl; dst [HEADS][2 * V_WORDS].
// Bindings:  0 step, 1 joined, 2 cache, 3 frequencies, 4 sinks (any buffer when SINKS is 0), 5 dst.
// Work:      a workgroup of one subgroup a head; each lane scores a key of four, and sums up OWN pairs of a value's columns. The
//            first head of a KV head writes to the cache; nobody reads that place here.
// Limits:    V_WORDS = 4 * OWN; HALF a multiple of 4.
const LANES = 4u;
const NONE = -1e30;
const K_AT = HEADS * 2u * K_WORDS;
const V_AT = K_AT + KV_HEADS * 2u * K_WORDS;
const VALUES = KV_HEADS * K_WORDS * CAPACITY;
@group(0) @binding(0) var<storage, read> step: array<u32, 4>;
@group(0) @binding(1) var<storage, read> joined: array<f32, V_AT + KV_HEADS * 2u * V_WORDS>;
@group(0) @binding(2) var<storage, read_write> cache: array<u32, KV_HEADS * (K_WORDS + V_WORDS) * CAPACITY>;
@group(0) @binding(3) var<storage, read> frequency: array<f32, HALF>;
@group(0) @binding(4) var<storage, read> sinks: array<f32, max(SINKS * HEADS, 1u)>;
@group(0) @binding(5) var<storage, read_write> dst: array<f32, HEADS * 2u * V_WORDS>;
var<private> q: array<f32, 2u * K_WORDS>;
var<private> k: array<f32, 2u * K_WORDS>;

// Turns the head's query and key, each lane a pair of four, and leaves them with all lanes.
fn turn(q_at: u32, k_at: u32, position: u32, lane: u32) {
    for (var i = 0u; i < HALF; i += LANES) {
        let angle = f32(position) * frequency[i + lane];
        let turns = round(angle * 0.15915494309); // as in rope.wgsl
        let reduced = fma(-turns, -1.7484556e-7, fma(-turns, 6.2831855, angle));
        let c = cos(reduced) * bitcast<f32>(ROPE_SCALE);
        let s = sin(reduced) * bitcast<f32>(ROPE_SCALE);
        let a = select(i + lane, 2u * (i + lane), PAIRS == 1u);
        let b = select(i + lane + HALF, 2u * (i + lane) + 1u, PAIRS == 1u);
        let query = vec2f(joined[q_at + a], joined[q_at + b]);
        let key = vec2f(joined[k_at + a], joined[k_at + b]);
        let turned = vec4f(query.x * c - query.y * s, query.y * c + query.x * s, key.x * c - key.y * s, key.y * c + key.x * s);
        //#each j 4
        {
            let all = subgroupBroadcast(turned, #j#u);
            let first = select(i + #j#u, 2u * (i + #j#u), PAIRS == 1u);
            let second = select(i + #j#u + HALF, 2u * (i + #j#u) + 1u, PAIRS == 1u);
            q[first] = all.x;
            q[second] = all.y;
            k[first] = all.z;
            k[second] = all.w;
        }
        //#end
    }
    for (var i = 2u * HALF; i < 2u * K_WORDS; i++) {
        q[i] = joined[q_at + i];
        k[i] = joined[k_at + i];
    }
}

// Where a position stands in the cache. Divisions are made lane by lane.
fn place_of(position: u32) -> u32 {
    if (WINDOW == 0u) { return position; }
    return position % CAPACITY;
}

fn limited(score: f32) -> f32 {
    let scaled = score * bitcast<f32>(SCALE);
    let cap = bitcast<f32>(SOFTCAP);
    if (SOFTCAP != 0u) { return cap * tanh(clamp(scaled / cap, -10.0, 10.0)); }
    return scaled;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) lane: u32) {
    let head = at.y;
    let kv_head = head / (HEADS / KV_HEADS);
    let position = step[0];
    turn(head * 2u * K_WORDS, K_AT + kv_head * 2u * K_WORDS, position, lane);

    // the newest key and value, rounded as they will be read
    let place = place_of(position);
    let writes = head % (HEADS / KV_HEADS) == 0u;
    let key_at = (kv_head * CAPACITY + place) * K_WORDS;
    var newest = 0.0;
    //#each w K_WORDS
    {
        let word = pack2x16float(vec2f(k[2 * #w#], k[2 * #w# + 1]));
        newest += dot(vec2f(q[2 * #w#], q[2 * #w# + 1]), unpack2x16float(word));
        if (writes && lane == #w#u % LANES) { cache[key_at + #w#u] = word; }
    }
    //#end
    var top = limited(newest);
    var sum = 1.0;
    let value_at = VALUES + (kv_head * CAPACITY + place) * V_WORDS + lane;
    let v_at = V_AT + kv_head * 2u * V_WORDS + 2u * lane;
    //#each c OWN
    let word#c# = pack2x16float(vec2f(joined[v_at + 8u * #c#u], joined[v_at + 8u * #c#u + 1u]));
    if (writes) { cache[value_at + 4u * #c#u] = word#c#; }
    var out#c# = unpack2x16float(word#c#);
    //#end

    var begin = 0u;
    if (WINDOW > 0u && position >= WINDOW) { begin = position - WINDOW + 1u; }
    for (var first = begin; first < position; first += LANES) {
        let key = place_of(min(first + lane, position - 1u));
        let row = (kv_head * CAPACITY + key) * K_WORDS;
        var dots = 0.0;
        //#each w K_WORDS
        dots += dot(vec2f(q[2 * #w#], q[2 * #w# + 1]), unpack2x16float(cache[row + #w#u]));
        //#end
        let score = select(NONE, limited(dots), first + lane < position);
        let new_top = max(top, subgroupMax(score));
        let keep = exp(top - new_top);
        let weight = exp(score - new_top);
        top = new_top;
        sum = sum * keep + subgroupAdd(weight);
        //#each c OWN
        out#c# *= keep;
        //#end
        //#each j 4
        {
            let share = subgroupBroadcast(weight, #j#u);
            let value = VALUES + (kv_head * CAPACITY + place_of(min(first + #j#u, position - 1u))) * V_WORDS + lane;
            //#each c OWN
            out#c# += share * unpack2x16float(cache[value + 4u * #c#u]);
            //#end
        }
        //#end
    }
    var factor = 1.0 / sum;
    if (SINKS == 1u) {
        let sink_top = max(top, sinks[head]);
        factor = exp(top - sink_top) / (sum * exp(top - sink_top) + exp(sinks[head] - sink_top));
    }
    //#each c OWN
    dst[head * 2u * V_WORDS + 2u * (lane + 4u * #c#u)] = factor * out#c#.x;
    dst[head * 2u * V_WORDS + 2u * (lane + 4u * #c#u) + 1u] = factor * out#c#.y;
    //#end
}
