// What place.wgsl and place_routed.wgsl share. The experts of one token become slots: of those that are in none the host learns
// from the record, and what was computed with the slot 0 in their stead it has computed again from what is kept here. Or the device
// gives them slots itself: place_table.wgsl, place_fetch.wgsl, one of which goes behind this.
// Shapes:    table: from p.table on, the slot of each expert, or NONE; from p.wanted on, for each choice the expert that the host
//            wants instead of the router's, or NONE. record: from p.record on, the experts used. kept: row [p.row], packed
//            [p.packed]. If p.shares is not 0, the host computes what is in no slot: it finds shares from there on in the record,
//            and the row from p.seen on, and on the device these experts' shares are 0.
// Bindings:  1 table, 2 row and 3 packed (what a run from here on reads of what went before; packed: any buffer if p.packed is
//            0), 4 record, 6 kept, 7 params.
// Work:      the first workgroup chooses, a thread a choice; the others copy a word a thread.
struct Params { table: u32, wanted: u32, record: u32, row: u32, packed: u32, shares: u32, seen: u32, uses: u32, fetched: u32, experts: u32, half_life: u32 }
@group(0) @binding(2) var<storage, read> row: array<u32>;
@group(0) @binding(3) var<storage, read> packed: array<u32>;
@group(0) @binding(4) var<storage, read_write> record: array<u32>;
@group(0) @binding(6) var<storage, read_write> kept: array<u32>;
@group(0) @binding(7) var<uniform> p: Params;
const THREADS = 64u;
const NONE = 0xffffffffu;

fn expert_for(choice: u32, routed: u32) -> u32 {
    let wanted = table[p.wanted + choice];
    let expert = select(wanted, routed, wanted == NONE);
    record[p.record + choice] = expert;
    return expert;
}

fn share_for(choice: u32, expert: u32, share: f32) -> f32 {
    if (p.shares == 0u) { return share; }
    record[p.shares + choice] = bitcast<u32>(share);
    return select(share, 0.0, table[p.table + expert] == NONE);
}

fn keep(i: u32) {
    if (i < p.row) {
        kept[i] = row[i];
        if (p.shares != 0u) { record[p.seen + i] = row[i]; }
    }
    else if (i - p.row < p.packed) { kept[i] = packed[i - p.row]; }
}
