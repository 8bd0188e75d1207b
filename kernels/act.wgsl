// The functions between two halves of a feed-forward block, numbered as KIND in elementwise.wgsl.

// tanh overflows to NaN for large arguments on some drivers.
fn safe_tanh(x: f32) -> f32 { return tanh(clamp(x, -10.0, 10.0)); }

// Abramowitz and Stegun 7.1.26, error below 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - poly * exp(-x * x));
}

fn activate(kind: u32, a: f32, b: f32, alpha: f32, limit: f32) -> f32 {
    switch kind {
        case 0u: { return a + b; }
        case 1u: { return a / (1.0 + exp(-a)) * b; }
        case 2u: { return 0.5 * a * (1.0 + safe_tanh(0.7978845608 * (a + 0.044715 * a * a * a))) * b; }
        case 3u: { return 0.5 * a * (1.0 + erf(a * 0.7071067812)) * b; }
        case 4u: {
            let gate = min(a, limit);
            let up = clamp(b, -limit, limit);
            return gate / (1.0 + exp(-alpha * gate)) * (up + 1.0);
        }
        default: { return limit * safe_tanh(a / limit); }
    }
}
