// One row of packed activations (pack.wgsl) as products read it: GROUPS groups of 16 columns, a unit is four of them, of which
// place_of tells where each stands: which of four neighbours it is, and of which four.
// NORM: the row still wants the factor of its RMSNorm, whose sums of squares stand behind the scales, one a group.
// Binding: X_AT. The files behind this one are made once for each matrix of a kernel, with its number for the dollar sign;
// matrix i has bindings 2 i and 2 i + 1.
@group(0) @binding(X_AT) var<storage, read> x: array<vec4u>;
const PLACES = GROUPS / 4u;
struct Input { bytes: array<vec4u, 4>, low: array<vec4u, 4>, scale: array<vec2f, 4> } // low: only for FINE weights

fn dot_bytes(a: vec4u, b: vec4u) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}
