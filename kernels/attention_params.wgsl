// What the kernels of attention over the cache as kv_write.wgsl leaves it are told. v_words 0: V is the first v_dim columns
// of K (MLA).
struct Step { position: u32, count: u32, outputs: u32, context: u32 }
struct Params {
    heads: u32, kv_heads: u32, k_words: u32, v_words: u32,
    v_dim: u32, capacity: u32, window: u32, scale: f32,
    softcap: f32, pad0: u32, pad1: u32, pad2: u32,
}
