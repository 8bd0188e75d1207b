// Computes:  the experts that place_fetch.wgsl gave slots, copied there from their home in host memory, across the bus.
// Shapes:    home [experts][p.end5], slots of each part of an expert: to0 [slots][p.end0], to1 [slots][p.end1 - p.end0], ...: quads
//            of words. record: from p.ids on, the expert of each choice; from p.fetched on, its slot, or NONE.
// Bindings:  0 home, 1 record, 2 to 7 the parts, 8 params. Of parts that there are not: any buffer, and an end like that before.
// Work:      grid (any, choices): the workgroups of a choice share its quads.
// Limits:    2^32 quads.
struct Params { ids: u32, fetched: u32, end0: u32, end1: u32, end2: u32, end3: u32, end4: u32, end5: u32 }
@group(0) @binding(0) var<storage, read> home: array<vec4u>;
@group(0) @binding(1) var<storage, read> record: array<u32>;
@group(0) @binding(2) var<storage, read_write> to0: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> to1: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> to2: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> to3: array<vec4u>;
@group(0) @binding(6) var<storage, read_write> to4: array<vec4u>;
@group(0) @binding(7) var<storage, read_write> to5: array<vec4u>;
@group(0) @binding(8) var<uniform> p: Params;
const NONE = 0xffffffffu;

fn put(slot: u32, i: u32, quad: vec4u) {
    if (i < p.end0) { to0[slot * p.end0 + i] = quad; }
    else if (i < p.end1) { to1[slot * (p.end1 - p.end0) + i - p.end0] = quad; }
    else if (i < p.end2) { to2[slot * (p.end2 - p.end1) + i - p.end1] = quad; }
    else if (i < p.end3) { to3[slot * (p.end3 - p.end2) + i - p.end2] = quad; }
    else if (i < p.end4) { to4[slot * (p.end4 - p.end3) + i - p.end3] = quad; }
    else { to5[slot * (p.end5 - p.end4) + i - p.end4] = quad; }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
    let slot = record[p.fetched + group.y];
    if (slot == NONE) { return; }
    let first = record[p.ids + group.y] * p.end5;
    for (var i = group.x * 256u + thread; i < p.end5; i += groups.x * 256u) { put(slot, i, home[first + i]); }
}
