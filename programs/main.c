/* main.c: picks the command, prints help and errors, gives the exit code. */
#include <stdio.h>

#include "tool.h"

static const command *const commands[] = {
    &command_run,   &command_chat,       &command_tokenize, &command_inspect, &command_verify, &command_convert,
    &command_synth, &command_perplexity, &command_bench,    &command_logits,  &command_trace,
    &command_devices,   &command_cache_replay,
};

static void print_commands(void) {
    for (size_t i = 0; i < DP_COUNT(commands); i++) printf("  %-14s%s\n", commands[i]->name, commands[i]->summary);
}

static void print_help(void) {
    printf("doppler " DP_VERSION_STRING ": runs language models\n\n"
           "Usage: doppler COMMAND [arguments] [options]\n\n");
    print_commands();
    printf("\nA MODEL is an RDRR folder, a .gguf file or a Hugging Face folder.\n"
           "doppler COMMAND --help describes a command and its options.\n\n"
           "Examples\n"
           "  doppler run \"Tell me a story about a brave fox.\"      the bundled model writes\n"
           "  doppler chat llama-3.2-1b.gguf                        a conversation\n"
           "  doppler convert checkpoint/ model/ --quantize q4_k_m  Hugging Face folder to RDRR\n"
           "  doppler bench model/                                  how fast is it here?\n\n"
           "Exit codes\n"
           "  0 done   2 wrong usage   130 interrupted\n"
           "  12 not enough memory   13 read or write failed   14 not found   15 malformed file   16 corrupt data\n"
           "  17 not supported   18 context too small   19 disk full   21 device failed or backends disagree\n");
}

static const command *find(const char *name) {
    for (size_t i = 0; i < DP_COUNT(commands); i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static dp_status unknown_command(const char *name) {
    const char *words[DP_COUNT(commands) + 1] = {0};
    for (size_t i = 0; i < DP_COUNT(commands); i++) words[i] = commands[i]->name;
    const char *near = options_nearest(name, words);
    if (near) return dp_fail(DP_E_ARG, "unknown command \"%s\"; did you mean \"%s\"?", name, near);
    return dp_fail(DP_E_ARG, "unknown command \"%s\"; doppler --help lists them", name);
}

static int exit_code(dp_status status) {
    switch (status) {
    case DP_OK:
        return 0;
    case DP_E_ARG:
        return EXIT_USAGE;
    case DP_E_CANCELLED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_STATUS + (int)status;
    }
}

static int finish(dp_status status) {
    if (status == DP_OK && fflush(stdout) != 0) status = stdout_write("", 1);
    if (status != DP_OK) {
        fflush(stdout);
        complain("doppler: ", status == DP_E_CANCELLED ? "interrupted" : dp_error_message());
    }
    dp_free(set.stops.items);
    dp_free(set.mirrors.items);
    return exit_code(status);
}

static dp_status run_command(const command *cmd, char **argv, int count) {
    bool help;
    settings_draw_seed();
    TRY(options_parse(cmd, argv, &count, &help));
    if (help) {
        options_print_help(cmd);
        return DP_OK;
    }
    interrupts_catch();
    return cmd->run(argv, count);
}

int main(int argc, char **argv) {
    streams_keep();
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        printf("doppler " DP_VERSION_STRING "\n");
        return finish(DP_OK);
    }
    bool help = strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    const command *cmd = help && argc > 2 ? find(argv[2]) : find(name);
    if (help && argc > 2 && !cmd) return finish(unknown_command(argv[2]));
    if (help && cmd)
        options_print_help(cmd);
    else if (help)
        print_help();
    else if (!cmd)
        return finish(unknown_command(name));
    else
        return finish(run_command(cmd, argv + 2, argc - 2));
    return finish(DP_OK);
}
