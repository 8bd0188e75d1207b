// A chunk of weights on its way to the matrix units: fetched now, made f16 when it is stored. Any format, behind its
// format_*.wgsl; formats with a halves_*.wgsl of their own do it in fewer instructions.
alias Raw = array<vec4f, 8>;

// The four columns of a group in the order in which halves_of leaves them; pack_f16.wgsl orders activations alike.
fn in_order(x: vec4f) -> vec4f { return x; }

fn fetch_chunk(row: u32, chunks: u32, c: u32) -> Raw { return load_chunk(row, chunks, c); }

fn halves_of(raw: Raw) -> array<vec4u, 4> {
    var out = array<vec4u, 4>();
    for (var j = 0u; j < 4u; j++) {
        let a = raw[2u * j];
        let b = raw[2u * j + 1u];
        out[j] = vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
    }
    return out;
}
