// RMSNorm's factor of one row of 16 * groups columns, found by a workgroup of 256 threads, each with a sum of squares.
const THREADS = 256u;
var<workgroup> partial: array<f32, 256>;

fn row_factor(square: f32, thread: u32) -> f32 {
    partial[thread] = square;
    workgroupBarrier();
    if (thread < 32u) {
        var sum = 0.0;
        for (var i = 0u; i < 8u; i++) { sum += partial[thread + 32u * i]; }
        partial[thread] = sum;
    }
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 32u; i++) { total += partial[i]; }
    return inverseSqrt(total / f32(16u * p.groups) + p.eps);
}
