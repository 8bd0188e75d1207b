// Computes:  stores K and V rows at the step's positions, rounded to f16 or as they are (EXACT).
// Shapes:    k [tokens][heads][k_dim], v [tokens][heads][v_dim]; cache: K [heads][capacity][k_dim / 2] pairs, then V alike; a
//            pair is one word of two f16, or two words of f32.
//            Position i lies at i % capacity: layers with a sliding window keep a ring.
// Bindings:  0 step, 1 k, 2 v (any buffer when v_words is 0), 3 cache, 4 params.
// Work:      one thread a pair: grid (pairs of a token / 64, tokens).
// Limits:    k_dim and v_dim even.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params { heads: u32, k_words: u32, v_words: u32, capacity: u32 }
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> k: array<vec2f>;
@group(0) @binding(2) var<storage, read> v: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> cache: array<u32>;
@group(0) @binding(4) var<uniform> p: Params;
override EXACT: bool = false;

fn put(pair: u32, value: vec2f) {
    if (EXACT) {
        cache[2u * pair] = bitcast<u32>(value.x);
        cache[2u * pair + 1u] = bitcast<u32>(value.y);
    } else {
        cache[pair] = pack2x16float(value);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let place = (step.position + id.y) % p.capacity;
    let keys = p.heads * p.k_words;
    let values = p.heads * p.v_words;
    if (id.x < keys) {
        let at = (id.x / p.k_words * p.capacity + place) * p.k_words + id.x % p.k_words;
        put(at, k[id.y * keys + id.x]);
    } else if (id.x < keys + values) {
        let i = id.x - keys;
        let at = (p.heads * p.k_words + i / p.v_words * p.v_words) * p.capacity + place * p.v_words + i % p.v_words;
        put(at, v[id.y * values + i]);
    }
}
