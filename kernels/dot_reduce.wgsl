// Sums over the lanes of a team, and over a workgroup, without subgroups.
var<workgroup> partial: array<array<f32, THREADS>, ROWS>;

// The sums of all lanes; lane r < ROWS of a team gets row r's.
fn reduce(sums: array<f32, ROWS>, lane: u32, thread: u32) -> f32 {
    for (var r = 0u; r < ROWS; r++) { partial[r][thread] = sums[r]; }
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (lane < half) {
            for (var r = 0u; r < ROWS; r++) { partial[r][thread] += partial[r][thread + half]; }
        }
        workgroupBarrier();
    }
    let result = partial[lane % ROWS][thread - lane];
    workgroupBarrier();
    return result;
}

// This thread's part of the sums of squares that the row's norm wants: to be fetched before the products.
fn norm_part(thread: u32) -> vec4f {
    var sum = vec4f(0.0);
    if (NORM == 0u) { return sum; }
    for (var i = thread; i < GROUPS / 4u; i += THREADS) { sum += bitcast<vec4f>(x[GROUPS + GROUPS / 2u + i]); }
    return sum;
}

// The factor of the row's norm, 1 where that is done already.
fn norm_factor(thread: u32, part: vec4f) -> f32 {
    if (NORM == 0u) { return 1.0; }
    partial[0][thread] = part.x + part.y + part.z + part.w;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if (thread < half) { partial[0][thread] += partial[0][thread + half]; }
        workgroupBarrier();
    }
    let total = partial[0][0];
    workgroupBarrier();
    return inverseSqrt(total / f32(16u * GROUPS) + bitcast<f32>(EPS));
}
