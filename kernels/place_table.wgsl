// Behind place_keep.wgsl where the host gives slots: an expert that is in none counts as in the first.
@group(0) @binding(1) var<storage, read> table: array<u32>;

fn take_slots(thread: u32, expert: u32) {}

fn slot_of(expert: u32) -> u32 {
    let slot = table[p.table + expert];
    return select(slot, 0u, slot == NONE);
}
