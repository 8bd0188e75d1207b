// Packs the TILE values of a workgroup, whole groups of 16, that it has left in `values`.
const TILE = THREADS / LANES * ROWS;
var<workgroup> values: array<vec4f, TILE / 4u>;
var<workgroup> byte_sums: array<i32, TILE / 4u>;

fn put_value(i: u32, value: f32) { values[i / 4u][i % 4u] = value; }

// Groups from `first` on of a row of `groups`; four threads share a group, and all of the workgroup's come here. Behind a barrier.
fn store_tile(first: u32, groups: u32, thread: u32) {
    let g = thread / 4u;
    var most = 0.0;
    if (thread < TILE / 4u) {
        most = most_of(values[4u * g], values[4u * g + 1u], values[4u * g + 2u], values[4u * g + 3u]);
        byte_sums[thread] = store_quarter(first + g, thread % 4u, groups, values[thread], most);
    }
    workgroupBarrier();
    if (thread < TILE / 4u && thread % 4u == 0u) {
        let sum = byte_sums[thread] + byte_sums[thread + 1u] + byte_sums[thread + 2u] + byte_sums[thread + 3u];
        store_scale(first + g, groups, most, sum);
    }
}
