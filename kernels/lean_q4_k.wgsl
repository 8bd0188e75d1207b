// What lean_pairs.wgsl leaves open.
struct Extra$ { none: u32 }
fn header_word$(block: u32, lane: u32) -> u32 { return ws$[block][lane]; }
fn extra$(low: vec4f, high: vec4f, c: u32) -> Extra$ { return Extra$(0u); }
fn more$(block: u32, x: Ready$, lane: u32) -> vec2f { return vec2f(); }
