// Computes:  RoPE of a token's queries and key, its key and value into the cache, and causal attention with an online softmax.
// Shapes:    joined: q [HEADS][2 * K_WORDS], k [KV_HEADS][2 * K_WORDS], v [KV_HEADS][2 * V_WORDS]; the cache of f16 as in
//            kv_write.wgsl; dst [HEADS][2 * V_WORDS].
// Bindings:  0 step, 1 joined, 2 cache, 3 frequencies, 4 sinks (any buffer when SINKS is 0), 5 dst.
// Work:      a workgroup of one subgroup a head; each lane scores a key of four, and sums up 8 * OWN of a value's columns. The
//            first head of a KV head writes to the cache; nobody reads that place here.
// Limits:    keys of 8 * K_FOURS columns, values of 32 * OWN; HALF a multiple of 4.
const LANES = 4u;
const NONE = -1e30;
const K_WORDS = 4u * K_FOURS;
const V_WORDS = 16u * OWN;
const K_AT = HEADS * 2u * K_WORDS;
const V_AT = K_AT + KV_HEADS * 2u * K_WORDS;
const V_FOURS = 4u * OWN;
const VALUES = KV_HEADS * K_FOURS * CAPACITY;
@group(0) @binding(0) var<storage, read> step: array<u32, 4>;
@group(0) @binding(1) var<storage, read> joined: array<f32, V_AT + KV_HEADS * 2u * V_WORDS>;
@group(0) @binding(2) var<storage, read_write> cache: array<vec4u, KV_HEADS * (K_FOURS + V_FOURS) * CAPACITY>;
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

fn packed(a: vec4f, b: vec4f) -> vec4u {
    return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

// Two f16 times 2^-112, those below 6e-5 perhaps as 0, infinities as 65536: unpack2x16float is three times as long there. The first one comes to its place
// by a product; the other one has to become the last bits of a float for that.
fn halves(w: u32) -> vec2f {
    let low = ((w & 0x7fffu) | ((w & 0x8000u) * 8u)) * 0x2000u;
    let last = bitcast<u32>(fma(f32(i32(w & 0x7fff0000u)), 0x1p-16, 0x1p23)); // behind 0x4b000000, of which the product leaves nothing
    return vec2f(bitcast<f32>(low), bitcast<f32>((w & 0x80000000u) | (last * 0x2000u)));
}

// Adds to two sums the products of a key's eight columns with the query's.
fn score(a: vec4f, b: vec4f, words: vec4u, sums: vec2f) -> vec2f {
    let first = fma(a.xy, halves(words.x), sums);
    let second = fma(a.zw, halves(words.y), first);
    let third = fma(b.xy, halves(words.z), second);
    return fma(b.zw, halves(words.w), third);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) lane: u32) {
    let head = at.y;
    let kv_head = head / (HEADS / KV_HEADS);
    let position = step[0];
    turn(head * 2u * K_WORDS, K_AT + kv_head * 2u * K_WORDS, position, lane);

    // the newest key and value, rounded as they will be read
    let place = kv_head * CAPACITY + place_of(position);
    let writes = head % (HEADS / KV_HEADS) == 0u;
    var newest = 0.0;
    //#each w K_FOURS
    let q#w#a = vec4f(q[8 * #w#], q[8 * #w# + 1], q[8 * #w# + 2], q[8 * #w# + 3]);
    let q#w#b = vec4f(q[8 * #w# + 4], q[8 * #w# + 5], q[8 * #w# + 6], q[8 * #w# + 7]);
    let large#w#a = 0x1p100 * q#w#a; // for halves()
    let large#w#b = 0x1p100 * q#w#b;
    {
        let words = packed(vec4f(k[8 * #w#], k[8 * #w# + 1], k[8 * #w# + 2], k[8 * #w# + 3]),
                           vec4f(k[8 * #w# + 4], k[8 * #w# + 5], k[8 * #w# + 6], k[8 * #w# + 7]));
        newest += dot(q#w#a.xy, unpack2x16float(words.x)) + dot(q#w#a.zw, unpack2x16float(words.y));
        newest += dot(q#w#b.xy, unpack2x16float(words.z)) + dot(q#w#b.zw, unpack2x16float(words.w));
        if (writes && lane == #w#u % LANES) { cache[place * K_FOURS + #w#u] = words; }
    }
    //#end
    var top = limited(newest);
    var sum = 1.0;
    let v_at = V_AT + 2u * (kv_head * V_WORDS + 4u * OWN * lane);
    //#each c OWN
    let v#c# = v_at + 8u * #c#u;
    let words#c# = packed(vec4f(joined[v#c#], joined[v#c# + 1u], joined[v#c# + 2u], joined[v#c# + 3u]),
                          vec4f(joined[v#c# + 4u], joined[v#c# + 5u], joined[v#c# + 6u], joined[v#c# + 7u]));
    if (writes) { cache[VALUES + place * V_FOURS + OWN * lane + #c#u] = words#c#; }
    var out#c#a = vec4f(unpack2x16float(words#c#.x), unpack2x16float(words#c#.y));
    var out#c#b = vec4f(unpack2x16float(words#c#.z), unpack2x16float(words#c#.w));
    //#end

    var begin = 0u;
    if (WINDOW > 0u && position >= WINDOW) { begin = position - WINDOW + 1u; }
    for (var first = begin; first < position; first += LANES) {
        let key = place_of(min(first + lane, position - 1u));
        let row = (kv_head * CAPACITY + key) * K_FOURS;
        var sums = vec2f();
        //#each w K_FOURS
        sums = score(large#w#a, large#w#b, cache[row + #w#u], sums);
        //#end
        let scored = select(NONE, limited(4096.0 * (sums.x + sums.y)), first + lane < position);
        let new_top = max(top, subgroupMax(scored));
        let keep = exp(top - new_top);
        let weight = exp(scored - new_top);
        top = new_top;
        sum = sum * keep + subgroupAdd(weight);
        //#each c OWN
        out#c#a *= keep;
        out#c#b *= keep;
        //#end
        //#each j 4
        {
            let share = 0x1p112 * subgroupBroadcast(weight, #j#u);
            let value = VALUES + (kv_head * CAPACITY + place_of(min(first + #j#u, position - 1u))) * V_FOURS + OWN * lane;
            //#each c OWN
            {
                let words = cache[value + #c#u];
                out#c#a = fma(vec4f(share), vec4f(halves(words.x), halves(words.y)), out#c#a);
                out#c#b = fma(vec4f(share), vec4f(halves(words.z), halves(words.w)), out#c#b);
            }
            //#end
        }
        //#end
    }
    var factor = 1.0 / sum;
    if (SINKS == 1u) {
        let sink_top = max(top, sinks[head]);
        factor = exp(top - sink_top) / (sum * exp(top - sink_top) + exp(sinks[head] - sink_top));
    }
    let dst_at = 2u * (head * V_WORDS + 4u * OWN * lane);
    //#each c OWN
    //#each j 4
    dst[dst_at + 8u * #c#u + #j#u] = factor * out#c#a[#j#];
    dst[dst_at + 8u * #c#u + 4u + #j#u] = factor * out#c#b[#j#];
    //#end
    //#end
}
