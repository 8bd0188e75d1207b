/* line.c: see line.h. The terminal is in raw mode only while a line is read. The text under edit is one buffer of
 * UTF-8; a newline in it (pasted, or Alt-Enter) shows as an arrow. Everything is drawn anew after each key. */
#define _DEFAULT_SOURCE /* POSIX within -std=c11 */
#include "line.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/json.h"
#include "host/host.h"
#include "tool.h"

enum { HISTORY_MAX = 1000, HISTORY_BYTES = 4 << 20 };

struct line_editor {
    char *history_path;
    char **history; /* oldest first */
    size_t history_count, history_capacity;
    struct termios cooked;
    /* the line being read */
    const char *prompt;
    dp_buf text;
    size_t cursor;      /* byte offset in text */
    size_t entry;       /* history entry shown; history_count: the new line */
    char *draft;        /* the new line while history is shown */
    dp_buf killed;      /* what Ctrl-K, Ctrl-U, Ctrl-W removed last */
    int row;            /* screen row of the cursor below the first */
    bool pasting;
};

/* ---- widths ---- */

static bool within(uint32_t c, const uint32_t (*ranges)[2], size_t count) {
    for (size_t i = 0; i < count; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

/* Columns that a character takes on usual terminals. */
static int columns(uint32_t c) {
    static const uint32_t none[][2] = {{0x300, 0x36F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}};
    static const uint32_t wide[][2] = {{0x1100, 0x115F}, {0x2E80, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},
                                       {0xFE30, 0xFE6F}, {0xFF00, 0xFF60}, {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F},
                                       {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    if (within(c, none, DP_COUNT(none))) return 0;
    return within(c, wide, DP_COUNT(wide)) ? 2 : 1;
}

/* Length of the character at p; a byte that is no UTF-8 counts as one character. */
static size_t character(const char *p, size_t n, uint32_t *c) {
    *c = 0xFFFD;
    size_t length = dp_utf8_decode(p, n, c);
    return length ? length : 1;
}

static size_t before(const line_editor *e, size_t at) {
    while (at > 0 && ((unsigned char)e->text.data[--at] & 0xC0) == 0x80) continue;
    return at;
}

static size_t behind(const line_editor *e, size_t at) {
    uint32_t c;
    return at < e->text.size ? at + character(e->text.data + at, e->text.size - at, &c) : at;
}

/* ---- drawing ---- */

typedef struct place {
    int row, column;
} place;

/* Where the cursor stands after p[0..n) was written from `from`. */
static place advance(place from, const char *p, size_t n, int width) {
    while (n) {
        uint32_t c;
        size_t length = character(p, n, &c);
        int w = columns(c);
        if (from.column + w > width) from.row++, from.column = 0;
        from.column += w;
        p += length;
        n -= length;
    }
    if (from.column >= width) from.row++, from.column = 0;
    return from;
}

static void draw(line_editor *e) {
    dp_buf out = {0}, shown = {0};
    size_t shown_cursor = 0;
    int width = terminal_width();
    for (size_t i = 0; i <= e->text.size; i++) {
        if (i == e->cursor) shown_cursor = shown.size;
        if (i == e->text.size) break;
        if (e->text.data[i] == '\n') dp_buf_str(&shown, "\xe2\x86\xb5"); /* arrow */
        else dp_buf_char(&shown, (unsigned char)e->text.data[i] < ' ' ? ' ' : e->text.data[i]);
    }
    place start = advance((place){0, 0}, e->prompt, strlen(e->prompt), width);
    place cursor = advance(start, shown.data ? shown.data : "", shown_cursor, width);
    place end = advance(start, shown.data ? shown.data : "", shown.size, width);
    if (e->row) dp_buf_printf(&out, "\033[%dA", e->row);
    dp_buf_printf(&out, "\r\033[J%s", e->prompt);
    dp_buf_append(&out, shown.data ? shown.data : "", shown.size);
    if (end.column == 0 && end.row > 0) dp_buf_str(&out, "\n"); /* the terminal waits at the edge: make the row real */
    if (end.row > cursor.row) dp_buf_printf(&out, "\033[%dA", end.row - cursor.row);
    dp_buf_printf(&out, "\r");
    if (cursor.column) dp_buf_printf(&out, "\033[%dC", cursor.column);
    e->row = cursor.row;
    if (!out.failed && !shown.failed) fwrite(out.data, 1, out.size, stderr);
    fflush(stderr);
    dp_buf_free(&out);
    dp_buf_free(&shown);
}

/* ---- editing ---- */

static void insert(line_editor *e, const char *p, size_t n) {
    size_t tail = e->text.size - e->cursor;
    dp_buf_append(&e->text, p, n);
    if (e->text.failed) {
        e->text.failed = false; /* out of memory: the key is lost, the line is not */
        return;
    }
    memmove(e->text.data + e->cursor + n, e->text.data + e->cursor, tail);
    memcpy(e->text.data + e->cursor, p, n);
    e->cursor += n;
}

/* Removes [from, to); keep: for Ctrl-Y. */
static void cut(line_editor *e, size_t from, size_t to, bool keep) {
    if (from == to) return;
    if (keep) {
        dp_buf_clear(&e->killed);
        dp_buf_append(&e->killed, e->text.data + from, to - from);
    }
    memmove(e->text.data + from, e->text.data + to, e->text.size - to);
    e->text.size -= to - from;
    e->text.data[e->text.size] = 0;
    e->cursor = from;
}

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t'; }

static size_t word_before(const line_editor *e) {
    size_t at = e->cursor;
    while (at > 0 && is_blank(e->text.data[at - 1])) at--;
    while (at > 0 && !is_blank(e->text.data[at - 1])) at--;
    return at;
}

static size_t word_behind(const line_editor *e) {
    size_t at = e->cursor;
    while (at < e->text.size && is_blank(e->text.data[at])) at++;
    while (at < e->text.size && !is_blank(e->text.data[at])) at++;
    return at;
}

static void show(line_editor *e, const char *text) {
    dp_buf_clear(&e->text);
    dp_buf_str(&e->text, text);
    e->cursor = e->text.size;
}

static void move_in_history(line_editor *e, int step) {
    if ((step < 0 && e->entry == 0) || (step > 0 && e->entry == e->history_count)) return;
    if (e->entry == e->history_count) {
        dp_free(e->draft);
        e->draft = NULL;
        if (text_copy((dp_str){e->text.data, e->text.size}, &e->draft) != DP_OK) return;
    }
    e->entry = step < 0 ? e->entry - 1 : e->entry + 1;
    show(e, e->entry == e->history_count ? e->draft : e->history[e->entry]);
}

/* ---- keys ---- */

enum { KEY_NONE = 0x110000, KEY_UP, KEY_DOWN, KEY_LEFT, KEY_RIGHT, KEY_HOME, KEY_END, KEY_DELETE, KEY_WORD_LEFT,
       KEY_WORD_RIGHT, KEY_NEWLINE, KEY_PASTE_BEGIN, KEY_PASTE_END, KEY_CLOSED };

static int read_byte(void) {
    unsigned char c;
    ssize_t n = read(STDIN_FILENO, &c, 1);
    return n == 1 ? c : -1;
}

static int control_sequence(void) {
    static const struct { const char *text; int key; } keys[] = {
        {"A", KEY_UP}, {"B", KEY_DOWN}, {"C", KEY_RIGHT}, {"D", KEY_LEFT}, {"H", KEY_HOME}, {"F", KEY_END},
        {"1~", KEY_HOME}, {"7~", KEY_HOME}, {"4~", KEY_END}, {"8~", KEY_END}, {"3~", KEY_DELETE},
        {"1;5C", KEY_WORD_RIGHT}, {"1;5D", KEY_WORD_LEFT}, {"1;3C", KEY_WORD_RIGHT}, {"1;3D", KEY_WORD_LEFT},
        {"200~", KEY_PASTE_BEGIN}, {"201~", KEY_PASTE_END},
    };
    char text[16];
    size_t n = 0;
    int c;
    do {
        c = read_byte();
        if (c < 0) return KEY_CLOSED;
        if (n + 1 < sizeof text) text[n++] = (char)c;
    } while (c < 0x40 || c > 0x7E || (n == 1 && c == '['));
    text[n] = 0;
    for (size_t i = 0; i < DP_COUNT(keys); i++)
        if (strcmp(keys[i].text, text) == 0) return keys[i].key;
    return KEY_NONE;
}

static int escape(void) {
    int c = read_byte();
    switch (c) {
    case -1: return KEY_CLOSED;
    case '[':
    case 'O': return control_sequence();
    case 'b': return KEY_WORD_LEFT;
    case 'f': return KEY_WORD_RIGHT;
    case '\r': return KEY_NEWLINE;
    default: return KEY_NONE;
    }
}

/* One key: a byte of text, a control character or KEY_*. */
static int read_key(void) {
    int c = read_byte();
    if (c < 0) return KEY_CLOSED;
    return c == 033 ? escape() : c;
}

typedef enum outcome { EDITING, DONE, GIVEN_UP, CLOSED } outcome;

static void insert_byte(line_editor *e, int key) {
    char c = (char)(key == '\r' || key == KEY_NEWLINE ? '\n' : key);
    insert(e, &c, 1);
}

static void move_or_cut(line_editor *e, int key) {
    enum { CTRL_A = 1, CTRL_B, CTRL_D = 4, CTRL_E, CTRL_F, CTRL_H = 8, CTRL_K = 11, CTRL_L, CTRL_N = 14, CTRL_P = 16,
           CTRL_U = 21, CTRL_W = 23, CTRL_Y = 25 };
    switch (key) {
    case CTRL_A: case KEY_HOME: e->cursor = 0; break;
    case CTRL_E: case KEY_END: e->cursor = e->text.size; break;
    case CTRL_B: case KEY_LEFT: e->cursor = before(e, e->cursor); break;
    case CTRL_F: case KEY_RIGHT: e->cursor = behind(e, e->cursor); break;
    case KEY_WORD_LEFT: e->cursor = word_before(e); break;
    case KEY_WORD_RIGHT: e->cursor = word_behind(e); break;
    case CTRL_P: case KEY_UP: move_in_history(e, -1); break;
    case CTRL_N: case KEY_DOWN: move_in_history(e, 1); break;
    case CTRL_H: case 127: cut(e, before(e, e->cursor), e->cursor, false); break;
    case CTRL_D: case KEY_DELETE: cut(e, e->cursor, behind(e, e->cursor), false); break;
    case CTRL_K: cut(e, e->cursor, e->text.size, true); break;
    case CTRL_U: cut(e, 0, e->cursor, true); break;
    case CTRL_W: cut(e, word_before(e), e->cursor, true); break;
    case CTRL_Y: insert(e, e->killed.data ? e->killed.data : "", e->killed.size); break;
    case CTRL_L: fputs("\033[H\033[2J", stderr); e->row = 0; break;
    default: break;
    }
}

static outcome handle(line_editor *e, int key) {
    if (key == KEY_CLOSED) return interrupted() ? GIVEN_UP : CLOSED;
    if (key == KEY_PASTE_BEGIN || key == KEY_PASTE_END) {
        e->pasting = key == KEY_PASTE_BEGIN;
    } else if (key == KEY_NEWLINE || (key > 0 && key <= 0xFF && (e->pasting || (key >= ' ' && key != 127)))) {
        insert_byte(e, key);
    } else if (key == '\r' || key == '\n') {
        return DONE;
    } else if (key == 3) {
        return GIVEN_UP;
    } else if (key == 4 && e->text.size == 0) {
        return CLOSED;
    } else {
        move_or_cut(e, key);
    }
    return EDITING;
}

/* ---- history ---- */

static void remember(line_editor *e, const char *line) {
    if (!*line || (e->history_count && strcmp(e->history[e->history_count - 1], line) == 0)) return;
    char *owned = NULL;
    if (text_copy(dp_str_of(line), &owned) != DP_OK) return; /* a line less in the history, no more */
    if (e->history_count == HISTORY_MAX) {
        dp_free(e->history[0]);
        memmove(e->history, e->history + 1, --e->history_count * sizeof *e->history);
    }
    if (dp_grow((void **)&e->history, &e->history_capacity, e->history_count + 1, sizeof *e->history))
        e->history[e->history_count++] = owned;
    else dp_free(owned);
}

/* One entry a line; newlines and backslashes within are escaped. */
static void load_history(line_editor *e) {
    char *text = NULL;
    size_t size;
    if (!e->history_path || dp_file_load(e->history_path, HISTORY_BYTES, &text, &size) != DP_OK) return;
    char *line = text, *to = text;
    for (char *p = text; p < text + size; p++) {
        if (*p == '\n') {
            *to = 0;
            remember(e, line);
            line = to = p + 1;
        } else if (*p == '\\' && p + 1 < text + size && p[1] != '\n') {
            p++;
            *to++ = *p == 'n' ? '\n' : *p;
        } else {
            *to++ = *p;
        }
    }
    dp_free(text);
}

/* Private to the user; a history that cannot be saved is no failure of the program. */
static void save_history(const line_editor *e) {
    dp_writer *writer;
    dp_buf out = {0};
    for (size_t i = 0; i < e->history_count; i++) {
        for (const char *p = e->history[i]; *p; p++) {
            if (*p == '\\' || *p == '\n') dp_buf_char(&out, '\\');
            dp_buf_char(&out, *p == '\n' ? 'n' : *p);
        }
        dp_buf_char(&out, '\n');
    }
    if (e->history_path && out.size && !out.failed && dp_writer_open(e->history_path, &writer) == DP_OK) {
        if (dp_writer_write(writer, out.data, out.size) != DP_OK) dp_writer_abandon(writer);
        else if (dp_writer_commit(writer) == DP_OK) chmod(e->history_path, 0600);
    }
    dp_buf_free(&out);
}

/* ---- reading ---- */

static bool raw_mode(line_editor *e) {
    if (tcgetattr(STDIN_FILENO, &e->cooked) != 0) return false;
    struct termios raw = e->cooked;
    raw.c_iflag &= (tcflag_t)~(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    raw.c_lflag &= (tcflag_t)~(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) return false;
    fputs("\033[?2004h", stderr); /* mark pasted text */
    return true;
}

static void cooked_mode(const line_editor *e) {
    fputs("\033[?2004l", stderr);
    fflush(stderr);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &e->cooked);
}

/* Keys that came together (a paste, a fast typist) are drawn once. */
static bool more_waits(void) {
    int waiting = 0;
    return ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting > 0;
}

static outcome edit(line_editor *e) {
    outcome state = EDITING;
    draw(e);
    while (state == EDITING) {
        state = handle(e, read_key());
        if (state == EDITING && !more_waits()) draw(e);
    }
    e->cursor = e->text.size;
    draw(e);
    fputs("\n", stderr);
    return state;
}

static dp_status read_plain(char **line) {
    size_t size;
    TRY(stdin_read_line(line, &size));
    dp_status status = *line ? text_check("the line", *line, size) : DP_OK;
    if (status != DP_OK) dp_free(*line);
    return status;
}

dp_status line_editor_read(line_editor *e, const char *prompt, char **line) {
    if (!stdin_is_terminal() || !stderr_is_terminal() || !raw_mode(e)) return read_plain(line);
    e->prompt = prompt;
    dp_buf_clear(&e->text);
    dp_buf_str(&e->text, "");
    e->cursor = 0;
    e->row = 0;
    e->entry = e->history_count;
    e->pasting = false;
    outcome state = edit(e);
    cooked_mode(e);
    if (state == CLOSED) {
        *line = NULL;
        return DP_OK;
    }
    if (state == GIVEN_UP) show(e, "");
    dp_buf_append(&e->text, "", 0);
    remember(e, e->text.data ? e->text.data : "");
    return dp_buf_take(&e->text, line, NULL);
}

dp_status line_editor_new(const char *history, line_editor **out) {
    line_editor *e = dp_calloc(1, sizeof *e);
    if (!e) return dp_no_memory(sizeof *e);
    if (history) {
        dp_status status = text_copy(dp_str_of(history), &e->history_path);
        if (status != DP_OK) {
            dp_free(e);
            return status;
        }
    }
    load_history(e);
    *out = e;
    return DP_OK;
}

void line_editor_free(line_editor *e) {
    if (!e) return;
    save_history(e);
    for (size_t i = 0; i < e->history_count; i++) dp_free(e->history[i]);
    dp_free(e->history);
    dp_free(e->history_path);
    dp_free(e->draft);
    dp_buf_free(&e->killed);
    dp_buf_free(&e->text);
    dp_free(e);
}
