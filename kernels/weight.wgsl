// What stands before an order_*.wgsl and a format_*.wgsl. A weight matrix on the device is two arrays, repacked at load
// (gpu/repack.c): wq holds quants, ws scales and the like; the format says how. A chunk is 32 elements of a row: the format's
// load_chunk gives them as eight vec4f, the order's element_group(c, j) says which four columns (as an index of vec4f) the
// j-th of them are. Bindings 0 and 1 belong to the weight, wq's type to its format, ws's to the order; a kernel's own bindings
// begin at 2. A kernel of several matrices (lean_*.wgsl) has order and format once for each, with the matrix's number for the
// dollar sign: bindings 2 i and 2 i + 1, and arrays of known lengths.
//
// All of it is written for devices that are programs, which check each access for each word, index arrays in memory, and divide,
// or shift by vectors, lane by lane: accesses are few and wide, indices constant, quotients shifts, and bytes used in place.

// The bytes of w, all below 128, times 1, 2^8, 2^16 and 2^24: PLACES undoes that.
const PLACES = vec4f(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
fn in_place(w: u32) -> vec4f { return vec4f(vec4i(vec4u(w) & vec4u(0xffu, 0xff00u, 0xff0000u, 0x7f000000u))); }

fn low_nibbles(w: u32) -> u32 { return w & 0x0f0f0f0fu; }
fn high_nibbles(w: u32) -> u32 { return (w >> 4u) & 0x0f0f0f0fu; }

const WQ = 0;
const WS = 1;
const WQ0 = 0;
const WS0 = 1;
const WQ1 = 2;
const WS1 = 3;
const WQ2 = 4;
const WS2 = 5;
