/* tool.h: what the commands of the `doppler` tool share: the settings that options fill in, a model with its engine and
 * session, the console (interrupts, standard input and output, numbers for people), JSON members.
 * A command returns a dp_status with its message recorded; main() prints it and turns it into the exit code. */
#ifndef TOOL_H
#define TOOL_H

#include "base/base.h"
#include "base/buf.h"
#include "options.h"

/* Exit codes: 0; usage errors 2; interrupted 130; any other status EXIT_STATUS + dp_status (docs/TOOL.md). */
enum { EXIT_USAGE = 2, EXIT_STATUS = 10, EXIT_INTERRUPTED = 130 };

extern const command command_run, command_chat, command_convert, command_synth, command_inspect, command_verify,
    command_bench, command_perplexity, command_tokenize, command_logits, command_trace, command_devices, command_cache_replay;

/* ---- settings.c: values of the shared options, and the groups that set them ---- */

typedef struct settings {
    bool quiet, json;
    const char *device; /* NULL: auto */
    const char *gpu_library;
    int32_t threads;
    const char *isa;
    bool verify;
    uint64_t ram, vram; /* budgets */
    int32_t expert_slots;
    int cache; /* dp_cache_policy */
    int misses; /* dp_misses */
    text_list mirrors;
    bool paging_stats;
    const char *record_routing; /* file; NULL: not */
    int32_t context, batch;
    int kv; /* dp_kv_type; -1: not chosen */
    dp_sampling sampling;
    bool greedy;
    int32_t max_tokens;
    text_list stops;
} settings;

extern settings set;
extern const option_group quiet_options;    /* --quiet */
extern const option_group output_options;   /* --quiet, --json */
extern const option_group engine_options;   /* --device, --threads, --isa, --gpu-library, --verify */
extern const option_group memory_options;   /* --ram, ... --record-routing */
extern const option_group session_options;  /* --context, --batch, --kv */
extern const option_group sampling_options; /* --temperature ... --max-tokens */

/* The seed that holds unless --seed gives another: to be called before options are parsed. */
void settings_draw_seed(void);
/* The sampling to use, --greedy applied. */
const dp_sampling *settings_sampling(void);

/* ---- setup.c: engine, model, session ---- */

typedef struct setup {
    dp_engine *engine;
    dp_model *model;
    dp_session *session;
    double load_seconds;
} setup;

/* The engine that the settings ask for. */
dp_status setup_engine(dp_engine_desc *desc);
/* Opens engine and model from the settings. On failure setup_close() is still due. */
dp_status setup_open(setup *s, const char *model);
/* Adds a session for at least `positions`: enlarges the default context, never one that was asked for. */
dp_status setup_session(setup *s, size_t positions);
/* With a session: what to do, or not, about a context that is too small. */
const char *setup_more_context(const setup *s);
void setup_close(setup *s);
/* When a command has done its work: finishes the recorded routing; with --paging, but not --json, notes what that did. */
dp_status setup_finish(const setup *s);
/* With --paging: what it did, as the member "paging" of a JSON object under construction. */
void setup_put_paging(const setup *s, dp_buf *json);
/* The model's tokenizer or DP_E_UNSUPPORTED. */
dp_status setup_tokenizer(const setup *s, const dp_tokenizer **out);
/* The folder of the bundled model (dp_free() it): $DOPPLER_MODEL, beside the program, or in the current folder. */
dp_status setup_find_bundled(char **path);
/* Runs ids in pieces whose logits fit in a moderate buffer; each(user, first, count, logits [count][vocab]) per piece.
 * Stops with DP_E_CANCELLED when interrupted. */
typedef dp_status (*logits_fn)(void *user, size_t first, size_t count, const float *logits);
dp_status setup_each_logits(setup *s, const int32_t *ids, size_t count, logits_fn each, void *user);

/* ---- console.c ---- */

/* From now on the first SIGINT or SIGTERM only makes interrupted() true; a second one ends the program. */
void interrupts_catch(void);
bool interrupted(void);
void interrupts_reset(void);
dp_status interrupted_status(void); /* DP_E_CANCELLED, "interrupted" */

/* Keeps standard streams that were closed from becoming the next files that are opened; using them fails. */
void streams_keep(void);
bool stdin_is_terminal(void);
bool stdout_is_terminal(void);
bool stderr_is_terminal(void);
int terminal_width(void); /* of stderr; 80 if not known */

/* Everything on standard input; dp_free() it. */
dp_status stdin_read(char **text, size_t *size);
/* One line without its end (dp_free() it); *line is NULL at the end of input. */
dp_status stdin_read_line(char **line, size_t *size);
/* Writes to standard output; DP_E_IO if it does not take it. */
dp_status stdout_write(const void *data, size_t size);
/* Writes the buffer and a line end, and frees it. */
dp_status stdout_print(dp_buf *buf);
/* The same for a string. */
dp_status stdout_puts(const char *text);
/* An error, in one line on stderr, without what a name out of a file could make a terminal do. */
void complain(const char *prefix, const char *message);
/* A line on stderr, unless --quiet. */
void note(const char *format, ...) DP_PRINTF(1, 2);

/* "1.23 GB" (powers of 1000), "10.8 M", "1.9 ms", "3.2 s" or "0:42". The texts live in a few rotating buffers. */
const char *show_bytes(double bytes);
const char *show_count(double count);
const char *show_duration(double seconds);
double per_second(double amount, double seconds); /* 0 if no time has passed */
double median(double *values, size_t count);      /* sorts them */
dp_status text_copy(dp_str text, char **out);     /* NUL-terminated; dp_free() it */
dp_status text_check(const char *what, const char *text, size_t size); /* DP_E_ARG if it has a NUL byte before its end */

/* ---- ids.c: token ids from the command line ---- */

/* Ids from a JSON array or numbers apart by commas or white space; dp_free() them. */
dp_status ids_parse(const char *text, size_t size, int32_t **ids, size_t *count);
/* `source` is a file of that form, "-" for standard input, or such a list itself. */
dp_status ids_load(const char *source, int32_t **ids, size_t *count);

#endif
