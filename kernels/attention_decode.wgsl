// Computes:  attention_token.wgsl, in rounds of KEYS keys between barriers, without subgroups.
// Shapes, bindings, work: there.
// Limits:    KEYS * HEADS at most THREADS.
const TEAMS = THREADS / V_PARTS; // keys whose values are summed at a time
const FETCHED = (KEYS + TEAMS - 1u) / TEAMS;
const TOPS = max(1u, HEADS / 4u);
const COLUMNS = SHARE + 1u; // one more than threads that share: other banks
var<workgroup> part: array<f32, THREADS * COLUMNS>;
var<workgroup> weight: array<vec4f, KEYS * HEADS / 4u>;

fn sum_parts(i: u32) -> f32 {
    var sum = 0.0;
    for (var j = 0u; j < SHARE; j++) { sum += part[i * COLUMNS + j]; }
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) thread: u32) {
    let head = at.y * HEADS;
    let kv_head = head / (p.heads / p.kv_heads);
    let range = range_of(at.x);
    if (range.idle) { return; }
    let begin = range.begin;
    let end = range.end;

    load_vectors(head, kv_head, thread);
    turn(thread);
    if (at.x == 0u && head % (p.heads / p.kv_heads) == 0u) { write_cache(kv_head, thread); }

    let keys = kv_head * p.capacity;
    let values = p.kv_heads * K_PARTS * p.capacity;
    let start = begin % p.capacity; // of the ring
    let team = thread / V_PARTS;
    let column = thread % V_PARTS;
    var top = array<f32, HEADS>();
    var sum = array<f32, HEADS>();
    var low = array<vec4f, HEADS>();
    var high = array<vec4f, HEADS>();
    for (var h = 0u; h < HEADS; h++) { top[h] = -1e30; }
    if (at.x == 0u) { // the token's own key and value
        if (thread < HEADS * SHARE) {
            var own = 0.0;
            for (var i = thread % SHARE; i < K_DIM / 4u; i += SHARE) {
                own += dot(turned[thread / SHARE * (K_DIM / 4u) + i], turned[HEADS * K_DIM / 4u + i]);
            }
            part[thread / SHARE * COLUMNS + thread % SHARE] = own;
        }
        workgroupBarrier();
        for (var h = 0u; h < HEADS; h++) { top[h] = finish(sum_parts(h)); }
        workgroupBarrier();
        if (team == 0u) {
            for (var j = 0u; j < 4u; j++) {
                low[0][j] = half_of(own_value(kv_head, 8u * column + j));
                high[0][j] = half_of(own_value(kv_head, 8u * column + 4u + j));
            }
            for (var h = 0u; h < HEADS; h++) {
                sum[h] = 1.0;
                low[h] = low[0];
                high[h] = high[0];
            }
        }
    }
    for (var tile = begin; tile < end; tile += KEYS) {
        var fetched = array<vec4u, FETCHED>();
        for (var n = 0u; n < FETCHED; n++) {
            let i = start + min(tile + team + n * TEAMS, end - 1u) - begin;
            fetched[n] = cache[values + (keys + select(i, i - p.capacity, i >= p.capacity)) * V_PARTS + column];
        }
        for (var pass_at = 0u; pass_at < KEYS; pass_at += THREADS / SHARE) {
            let key = pass_at + thread / SHARE;
            let i = start + min(tile + key, end - 1u) - begin;
            let row = (keys + select(i, i - p.capacity, i >= p.capacity)) * K_PARTS;
            var s = array<f32, HEADS>();
            for (var c = 0u; c < K_PARTS; c += SHARE) {
                let mine = c + thread % SHARE;
                if (K_PARTS % SHARE != 0u && mine >= K_PARTS) { continue; }
                let w = cache[row + mine];
                let a = low_of(w);
                let b = high_of(w);
                for (var h = 0u; h < HEADS; h++) {
                    s[h] += dot(a, turned[h * (K_DIM / 4u) + 2u * mine]) + dot(b, turned[h * (K_DIM / 4u) + 2u * mine + 1u]);
                }
            }
            for (var h = 0u; h < HEADS; h++) { part[(key * HEADS + h) * COLUMNS + thread % SHARE] = s[h]; }
        }
        workgroupBarrier();
        if (thread < KEYS * HEADS) { weight[thread / 4u][thread % 4u] = select(-1e30, finish(sum_parts(thread)), tile + thread / HEADS < end); }
        workgroupBarrier();
        var most = array<vec4f, TOPS>();
        for (var i = 0u; i < TOPS; i++) { most[i] = vec4f(-1e30); }
        for (var i = 0u; i < KEYS * HEADS / 4u; i++) { most[i % TOPS] = max(most[i % TOPS], weight[i]); }
        for (var h = 0u; h < HEADS; h++) {
            var now = top[h];
            for (var c = 0u; c < 4u; c++) {
                if (c % min(HEADS, 4u) == h % 4u) { now = max(now, most[h / 4u][c]); }
            }
            let keep = exp(top[h] - now);
            top[h] = now;
            sum[h] *= keep;
            low[h] *= keep;
            high[h] *= keep;
        }
        for (var n = 0u; n < FETCHED; n++) {
            let key = team + n * TEAMS;
            if (THREADS % V_PARTS != 0u || KEYS % TEAMS != 0u) {
                if (team >= TEAMS || key >= KEYS) { continue; }
            }
            let a = low_of(fetched[n]);
            let b = high_of(fetched[n]);
            for (var h = 0u; h < HEADS; h++) {
                let i = key * HEADS + h;
                let factor = exp(weight[i / 4u][i % 4u] - top[h]);
                sum[h] += factor;
                low[h] = fma(vec4f(factor), a, low[h]);
                high[h] = fma(vec4f(factor), b, high[h]);
            }
        }
        workgroupBarrier();
    }

    for (var h = 0u; h < HEADS; h++) {
        if (team < TEAMS) {
            for (var j = 0u; j < 4u; j++) {
                part[thread * COLUMNS + j] = low[h][j];
                part[thread * COLUMNS + 4u + j] = high[h][j];
            }
            part[thread * COLUMNS + 8u] = sum[h];
        }
        workgroupBarrier();
        if (thread < V_DIM) {
            var value = 0.0;
            var total = 0.0;
            for (var t = 0u; t < TEAMS; t++) {
                value += part[(t * V_PARTS + thread / 8u) * COLUMNS + thread % 8u];
                total += part[t * V_PARTS * COLUMNS + 8u];
            }
            emit(head + h, h, at.x, thread, value, total, top[h]);
        }
        workgroupBarrier();
    }
    pack_result(head, thread);
}
