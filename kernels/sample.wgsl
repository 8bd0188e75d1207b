// What the kernels share that draw a token from a row of logits (sample_*.wgsl); engine/sampling.c says what is drawn. They
// run in this order: sample_top, then for top-k, top-p and min-p sample_weigh (not needed for min-p alone) and sample_keep, then
// sample_pick.
struct Step { position: u32, count: u32, outputs: u32, context: u32, drawn: u32, pad0: u32, pad1: u32, pad2: u32 }
struct Rules {
    vocab: u32, groups: u32, race: u32, repeat_last: u32,
    temperature: f32, penalty: f32, seed_low: u32, seed_high: u32,
    top_k: u32, top_p: f32, min_p: f32, filtered: u32,
}
const CHUNK = 1024u; // ids a workgroup looks at
const NONE = 0xffffffffu;
const LEAST = -3.4e38;

// A hash of four words (pcg4d, Jarzynski and Olano 2020).
fn hash(a: u32, b: u32, c: u32, d: u32) -> u32 {
    var v = vec4u(a, b, c, d) * 1664525u + 1013904223u;
    v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
    v ^= v >> vec4u(16u);
    v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
    return v.w;
}

// ln((1 + s) / (1 - s)) for |s| < 0.18
fn log_ratio(s: f32) -> f32 {
    let z = s * s;
    return 2.0 * s * (1.0 + z * (0.33333333 + z * (0.2 + z * (0.14285714 + z * 0.11111111))));
}

// The built-in log may be off by 2^-21 near 1.
fn ln(x: f32) -> f32 {
    let word = bitcast<u32>(x) - 0x3f3504f3u; // so that the mantissa lies in sqrt(1/2) to sqrt(2)
    let exponent = bitcast<i32>(word) >> 23u;
    let f = bitcast<f32>((word & 0x7fffffu) + 0x3f3504f3u) - 1.0;
    return fma(f32(exponent), 0.69314718, log_ratio(f / (2.0 + f)));
}

// -ln(ln(1 / (1 - u))) for u = (bits + 1/2) / 2^32: adding it to all logits and taking the greatest draws by softmax.
fn handicap(bits: u32) -> f32 {
    const UNIT = 2.3283064365e-10;
    var wait = 0.0;
    if (bits < 0x40000000u) {
        let u = (f32(bits) + 0.5) * UNIT;
        wait = log_ratio(u / (2.0 - u));
    } else {
        wait = -ln((f32(~bits) + 0.5) * UNIT);
    }
    return -ln(wait);
}

struct Best { value: f32, owner: u32 }
var<workgroup> best_values: array<f32, THREADS>;
var<workgroup> best_owners: array<u32, THREADS>;

// The lower owner among equals.
fn better(a: Best, b: Best) -> Best {
    if (b.value > a.value || (b.value == a.value && b.owner < a.owner)) { return b; }
    return a;
}

// How buffers hold it.
fn packed(b: Best) -> vec2u { return vec2u(bitcast<u32>(b.value), b.owner); }
fn unpacked(words: vec2u) -> Best { return Best(bitcast<f32>(words.x), words.y); }

fn best_of_all(mine: Best, thread: u32) -> Best {
    best_values[thread] = mine.value;
    best_owners[thread] = mine.owner;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) {
            let found = better(Best(best_values[thread], best_owners[thread]), Best(best_values[thread + half], best_owners[thread + half]));
            best_values[thread] = found.value;
            best_owners[thread] = found.owner;
        }
        workgroupBarrier();
    }
    let result = Best(best_values[0], best_owners[0]);
    workgroupBarrier();
    return result;
}

// A candidate at the end of its race in draw number `drawn`.
fn run(logit: f32, id: u32, drawn: u32) -> Best {
    return Best(logit + handicap(hash(p.seed_low, p.seed_high, drawn, id)), id);
}
