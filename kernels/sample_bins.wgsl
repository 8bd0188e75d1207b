// Where sample_weigh, sample_keep and sample_pick put candidates: bins by their distance below the greatest logit, narrower near
// it. One array of words, `work`: the bins, a header, and the list of candidates of the bins that a filter's border crosses.
const NEAR = 8.0;   // half of the bins cover this distance,
const FAR = 32.0;   // the others reach to here; nothing beyond can win a race or weighs anything
const BINS = 4096u;
const HEADER = 3u * BINS; // list length, count before the list, weight before it (2 words), weight of all (2 words)
const LIST = HEADER + 8u; // (bits of the logit, id, bits of the weight) each
const LIST_MAX = 1024u;   // a longer list is left to the host

// BINS: out of reach.
fn bin_of(distance: f32) -> u32 {
    if (!(distance < FAR)) { return BINS; }
    if (distance < NEAR) { return u32(distance * (f32(BINS / 2u) / NEAR)); }
    return min(BINS / 2u + u32((distance - NEAR) * (f32(BINS / 2u) / (FAR - NEAR))), BINS - 1u);
}

// exp(-distance) in units of 2^-40, low word first.
fn fixed(weight: f32) -> vec2u {
    let high = u32(weight * 256.0);
    return vec2u(u32((weight * 256.0 - f32(high)) * 4294967296.0), high);
}

fn sum_of(a: vec2u, b: vec2u) -> vec2u {
    let low = a.x + b.x;
    return vec2u(low, a.y + b.y + select(0u, 1u, low < a.x));
}

fn is_less(a: vec2u, b: vec2u) -> bool { return a.y < b.y || (a.y == b.y && a.x < b.x); }

// share * all, for 0 < share < 1, with the error of (1 - share) * all.
fn share_of(all: vec2u, share: f32) -> vec2u {
    let rest = (1.0 - share) * (f32(all.y) * 4294967296.0 + f32(all.x));
    let high = u32(rest / 4294967296.0);
    let low = u32(max(rest - f32(high) * 4294967296.0, 0.0));
    if (!is_less(vec2u(low, high), all)) { return vec2u(1u, 0u); }
    return vec2u(all.x - low, all.y - high - select(0u, 1u, all.x < low));
}

fn is_heavy(distance: f32) -> bool { return distance == 0.0 || exp(-distance) >= p.min_p; }
