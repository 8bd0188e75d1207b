// How many workgroups share the keys of one head in decode, up to SPLITS.
const SPLIT_KEYS = 128u; // at least, each

fn splits_of(length: u32) -> u32 { return clamp((length + SPLIT_KEYS - 1u) / SPLIT_KEYS, 1u, SPLITS); }
fn first_key(position: u32, window: u32) -> u32 { return select(0u, position + 1u - window, window > 0u && position >= window); }
