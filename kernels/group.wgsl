// Computes:  (token, choice) pairs sorted by expert, cut into tiles of at most `tile` pairs of one expert.
// Shapes:    ids [tokens * k]; groups: the number of tiles, then (expert, begin, end) of each, `tiles` of them at most,
//            then the pairs; begin and end index groups.
// Bindings:  0 step, 1 ids, 2 groups, 3 params.
// Work:      one workgroup.
//            PLACED: ids hold a slot, and the expert << 16; `experts` counts slots, whose pairs are sorted, and those of other
//            slots left out. A tile then has such an id for its expert.
// Limits:    512 experts.
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params { experts: u32, k: u32, tile: u32, tiles: u32 }
@group(0) @binding(0) var<storage, read> step: Step;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> groups: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;
const THREADS = 256u;
var<workgroup> counts: array<atomic<u32>, 512>;
var<workgroup> cursor: array<atomic<u32>, 512>;
var<workgroup> names: array<atomic<u32>, 512>; // PLACED: the ids that stand for slots
override PLACED: bool = false;

fn key_of(id: u32) -> u32 { return select(id, id & 0xffffu, PLACED); }

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    for (var e = thread; e < p.experts; e += THREADS) { atomicStore(&counts[e], 0u); }
    workgroupBarrier();
    let pairs = step.count * p.k;
    for (var i = thread; i < pairs; i += THREADS) {
        let key = key_of(ids[i]);
        if (PLACED && key >= p.experts) { continue; }
        atomicAdd(&counts[key], 1u);
        if (PLACED) { atomicStore(&names[key], ids[i]); }
    }
    workgroupBarrier();
    for (var e = thread; e < p.experts; e += THREADS) {
        var begin = 1u + 3u * p.tiles;
        var tile = 0u;
        for (var before = 0u; before < e; before++) {
            let count = atomicLoad(&counts[before]);
            begin += count;
            tile += (count + p.tile - 1u) / p.tile;
        }
        atomicStore(&cursor[e], begin);
        let end = begin + atomicLoad(&counts[e]);
        for (; begin < end; begin += p.tile) {
            groups[1u + 3u * tile] = e;
            if (PLACED) { groups[1u + 3u * tile] = atomicLoad(&names[e]); }
            groups[2u + 3u * tile] = begin;
            groups[3u + 3u * tile] = min(begin + p.tile, end);
            tile++;
        }
        if (e == p.experts - 1u) { groups[0] = tile; }
    }
    workgroupBarrier();
    for (var i = thread; i < pairs; i += THREADS) {
        let key = key_of(ids[i]);
        if (PLACED && key >= p.experts) { continue; }
        groups[atomicAdd(&cursor[key], 1u)] = i;
    }
}
