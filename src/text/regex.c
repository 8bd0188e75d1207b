/* regex.c: the matcher: a backtracking machine over the program of regex_parse.c.
 * Choices lie on an explicit stack; native recursion happens only for LOOK and ATOMIC bodies, whose nesting the
 * compiler limits. A repeated single character is one stack entry however often it matched. */
#include "base/json.h"
#include "text/regex_program.h"
#include "text/unicode.h"

enum { FRAMES_MAX = 1 << 20 };

/* A choice to come back to. `until` < pos: positions until..pos are left to try, one character less each time;
 * `until` == pos: only pos. left > 0: a lazy loop may take that many more characters. */
typedef struct dp_regex_frame {
    uint32_t pc, left;
    size_t pos, until;
} dp_regex_frame;

typedef struct machine {
    const dp_regex *regex;
    dp_regex_scratch *scratch;
    const char *text;
    size_t size;
} machine;

enum { NO_MATCH = 0, MATCH = 1, OUT_OF_WORK = 2, OUT_OF_MEMORY = 3 };

void dp_regex_scratch_begin(dp_regex_scratch *scratch, size_t text_size) {
    scratch->steps_left = 1000000 + (uint64_t)text_size * 512;
}

void dp_regex_scratch_free(dp_regex_scratch *scratch) {
    dp_free(scratch->frames);
    *scratch = (dp_regex_scratch){0};
}

/* The character at pos; its length, 0 at the end of the text. The text is valid UTF-8. */
static inline size_t decode(const machine *m, size_t pos, uint32_t *code) {
    const unsigned char *p = (const unsigned char *)m->text + pos;
    if (pos >= m->size) return 0;
    if (p[0] < 0x80) return *code = p[0], 1;
    if (p[0] < 0xE0) return *code = (p[0] & 31u) << 6 | (p[1] & 63u), 2;
    if (p[0] < 0xF0) return *code = (p[0] & 15u) << 12 | (p[1] & 63u) << 6 | (p[2] & 63u), 3;
    *code = (p[0] & 7u) << 18 | (p[1] & 63u) << 12 | (p[2] & 63u) << 6 | (p[3] & 63u);
    return 4;
}

/* Length of the character at pos if it is in the class, else 0. */
static inline size_t class_step(const machine *m, const dp_rx_class *set, size_t pos) {
    uint32_t code;
    size_t n = decode(m, pos, &code);
    if (n == 1) return set->ascii[code >> 6] >> (code & 63) & 1;
    return n && dp_rx_class_has(m->regex, set, code) ? n : 0;
}

static bool word_at(const machine *m, size_t pos) {
    uint32_t code;
    return decode(m, pos, &code) && dp_unicode_is_word(code);
}

static size_t back(const machine *m, size_t pos) {
    do pos--;
    while (((unsigned char)m->text[pos] & 0xC0) == 0x80);
    return pos;
}

static bool assertion(const machine *m, dp_rx_op op, size_t pos) {
    switch (op) {
    case DP_RX_LINE_START: return pos == 0 || m->text[pos - 1] == '\n';
    case DP_RX_LINE_END: return pos == m->size || m->text[pos] == '\n';
    case DP_RX_TEXT_START: return pos == 0;
    case DP_RX_TEXT_END: return pos == m->size;
    case DP_RX_TEXT_END_NEWLINE: return pos == m->size || (pos + 1 == m->size && m->text[pos] == '\n');
    default: return (pos > 0 && word_at(m, back(m, pos))) != word_at(m, pos); /* WORD_EDGE */
    }
}

/* NO_MATCH, or what went wrong. */
static int push(machine *m, dp_regex_frame frame) {
    dp_regex_scratch *s = m->scratch;
    if (s->count >= FRAMES_MAX) return OUT_OF_WORK;
    if (!dp_grow((void **)&s->frames, &s->capacity, s->count + 1, sizeof *s->frames)) return OUT_OF_MEMORY;
    s->frames[s->count++] = frame;
    return NO_MATCH;
}

/* Takes the newest choice at or above `base`; false when none is left. */
static bool pop(machine *m, size_t base, uint32_t *pc, size_t *pos) {
    dp_regex_scratch *s = m->scratch;
    while (s->count > base) {
        dp_regex_frame *f = &s->frames[s->count - 1];
        *pc = f->pc;
        if (f->left) { /* lazy loop: one more character, then on behind the loop */
            size_t n = class_step(m, &m->regex->classes[m->regex->code[f->pc].a], f->pos);
            *pos = f->pos += n;
            *pc = f->pc + 1;
            if (!n || --f->left == 0) s->count--;
            if (n) return true;
            continue;
        }
        *pos = f->pos;
        if (f->pos > f->until) f->pos = back(m, f->pos);
        else s->count--;
        return true;
    }
    return false;
}

/* Runs a LOOP instruction; false if the minimum does not fit. */
static bool run_loop(machine *m, uint32_t pc, size_t *pos, int *trouble) {
    const dp_rx_inst *inst = &m->regex->code[pc];
    const dp_rx_class *set = &m->regex->classes[inst->a];
    uint32_t limit = inst->mode == DP_RX_LAZY ? inst->min : inst->max, count = 0;
    size_t p = *pos, least = *pos, n;
    while (count < limit && (n = class_step(m, set, p)) != 0) {
        p += n;
        if (++count == inst->min) least = p;
    }
    m->scratch->steps_left -= DP_MIN(m->scratch->steps_left, count / 8);
    if (count < inst->min) return false;
    *pos = p;
    dp_regex_frame frame = {pc + 1, 0, p, least};
    bool choice = inst->mode == DP_RX_GREEDY && p > least;
    if (choice) frame.pos = back(m, p);
    if (inst->mode == DP_RX_LAZY && inst->max > inst->min) {
        frame = (dp_regex_frame){pc, inst->max - inst->min, p, p};
        choice = true;
    }
    if (choice) *trouble = push(m, frame);
    return true;
}

/* Runs the program from pc at *pos to its MATCH; then *pos is the end. */
static int run(machine *m, uint32_t pc, size_t *pos_inout) {
    const dp_rx_inst *code = m->regex->code;
    size_t base = m->scratch->count, pos = *pos_inout, n;
    for (;;) {
        const dp_rx_inst *inst = &code[pc];
        bool ok = true;
        int inner = NO_MATCH, trouble = NO_MATCH;
        uint32_t c = 0;
        if (m->scratch->steps_left == 0) return OUT_OF_WORK;
        m->scratch->steps_left--;
        switch ((dp_rx_op)inst->op) {
        case DP_RX_MATCH:
            m->scratch->count = base;
            *pos_inout = pos;
            return MATCH;
        case DP_RX_CHAR:
            n = decode(m, pos, &c);
            ok = n && c == (uint32_t)inst->a;
            pos += n;
            pc++;
            break;
        case DP_RX_CLASS:
            n = class_step(m, &m->regex->classes[inst->a], pos);
            ok = n != 0;
            pos += n;
            pc++;
            break;
        case DP_RX_LOOP:
            ok = run_loop(m, pc, &pos, &trouble);
            pc++;
            break;
        case DP_RX_SPLIT:
            trouble = push(m, (dp_regex_frame){(uint32_t)((int64_t)pc + inst->b), 0, pos, pos});
            pc = (uint32_t)((int64_t)pc + inst->a);
            break;
        case DP_RX_JUMP: pc = (uint32_t)((int64_t)pc + inst->a); break;
        case DP_RX_LOOK:
        case DP_RX_ATOMIC: {
            size_t end = pos;
            inner = run(m, pc + 1, &end);
            if (inner > MATCH) return inner;
            ok = (inner == MATCH) != inst->negative;
            if (inst->op == DP_RX_ATOMIC && ok) pos = end;
            pc = (uint32_t)((int64_t)pc + inst->a);
            break;
        }
        default:
            ok = assertion(m, (dp_rx_op)inst->op, pos) != inst->negative;
            pc++;
            break;
        }
        if (trouble) return trouble;
        if (!ok && !pop(m, base, &pc, &pos)) return NO_MATCH;
    }
}

dp_status dp_regex_find(const dp_regex *regex, dp_regex_scratch *scratch, dp_str text, size_t from, dp_match *out) {
    machine m = {regex, scratch, text.p, text.n};
    *out = (dp_match){from, from, false};
    for (size_t start = from; start <= text.n; start++) {
        if (!regex->may_be_empty) {
            while (start < text.n && !regex->first[(unsigned char)text.p[start]]) start++;
            if (start >= text.n) return DP_OK;
        }
        if (start < text.n && ((unsigned char)text.p[start] & 0xC0) == 0x80) continue;
        size_t end = start;
        scratch->count = 0;
        int result = run(&m, 0, &end);
        if (result == OUT_OF_MEMORY) return dp_no_memory((scratch->count + 1) * sizeof *scratch->frames);
        if (result == OUT_OF_WORK)
            return dp_fail(DP_E_UNSUPPORTED,
                           "a pattern of this tokenizer needs too much work on this text of %zu bytes", text.n);
        if (result == MATCH) {
            *out = (dp_match){start, end, true};
            return DP_OK;
        }
    }
    return DP_OK;
}
