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

// The factor of the row's norm, 1 where that is done already.
fn norm_factor(thread: u32, eps: f32) -> f32 {
    if (NORM == 0u) { return 1.0; }
    var sum = vec4f(0.0);
    for (var i = thread % SUBGROUP; i < GROUPS / 4u; i += SUBGROUP) { sum += bitcast<vec4f>(x[GROUPS + GROUPS / 2u + i]); }
    return inverseSqrt(subgroupAdd(sum.x + sum.y + sum.z + sum.w) / f32(16u * GROUPS) + eps);
}
