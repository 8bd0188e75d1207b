// Sums over the lanes of a team, and over a workgroup, where all subgroups have SUBGROUP invocations, a multiple of LANES.

// The sums of all lanes; lane r < ROWS of a team gets row r's.
fn reduce(sums: array<f32, ROWS>, lane: u32, thread: u32) -> f32 {
    var result = 0.0;
    for (var r = 0u; r < ROWS; r++) {
        var s = sums[r];
        for (var step = LANES / 2u; step > 0u; step /= 2u) { s += subgroupShuffleXor(s, step); }
        if (lane == r) { result = s; }
    }
    return result;
}

// This thread's part of the sums of squares that the row's norm wants: to be fetched before the products.
fn norm_part(thread: u32) -> vec4f {
    var sum = vec4f(0.0);
    if (NORM == 0u) { return sum; }
    for (var i = thread % SUBGROUP; i < GROUPS / 4u; i += SUBGROUP) { sum += bitcast<vec4f>(x[GROUPS + GROUPS / 2u + i]); }
    return sum;
}

// The factor of the row's norm, 1 where that is done already.
fn norm_factor(thread: u32, part: vec4f) -> f32 {
    if (NORM == 0u) { return 1.0; }
    return inverseSqrt(subgroupAdd(part.x + part.y + part.z + part.w) / f32(16u * GROUPS) + bitcast<f32>(EPS));
}
