#include "commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command {
    const char *name, *options, *help;
    int (*run)(const struct aq_args *args);
} commands[] = {
    {"info", "isa sysfs proc", "[--isa X] [--sysfs DIR] [--proc DIR]", aq_cmd_info},
    {"sample", "ms loop! sysfs proc", "[--ms 500] [--loop] [--sysfs DIR] [--proc DIR]", aq_cmd_sample},
    {"selftest", "isa quick!", "[--isa X] [--quick]", aq_cmd_selftest},
    {"roofline", "threads", "[--threads N]", aq_cmd_roofline},
    {"kernels", "isa kernel m n k group threads ms",
     "[--isa X] [--kernel K] [--m 512] [--n 5632] [--k 2048] [--group 32] [--threads N] [--ms 400]", aq_cmd_kernels},
    {"run", "root* job* store", "--root R --job A [--store DIR]", aq_cmd_run},
    {"start", "root* job* cluster* epoch* store", "--root R --job A --cluster C --epoch N [--store DIR]", aq_cmd_start},
    {"adopt", "root* cluster* epoch*", "--root R --cluster C --epoch N", aq_cmd_adopt},
    {"follow", "root* job* offset timeout", "--root R --job A [--offset N] [--timeout S]", aq_cmd_follow},
    {"stop", "root* job* wait", "--root R --job A [--wait S]", aq_cmd_stop},
    {"status", "root* job", "--root R [--job A]", aq_cmd_status},
    {"logits", "model* tokens* count* out* isa threads",
     "--model F --tokens T --count N --out O [--isa X] [--threads N]", aq_cmd_logits},
    {"accumulate", "kernel* isa* in* out*", "--kernel K --isa X --in F --out O", aq_cmd_accumulate},
};

static int usage(FILE *out, int code) {
    fprintf(out, "aqengine %s (%s)\n", AQ_VERSION, AQ_BUILD);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  aqengine %s %s\n", commands[i].name, commands[i].help);
    return code;
}

int aq_report(const struct aq_error *err, int code) {
    fprintf(stderr, "aqengine: %s\n", err->message);
    return code;
}

int aq_print(struct aq_text *line) {
    aq_text_add(line, "\n", 1);
    bool ok = !line->failed && aq_write_all(STDOUT_FILENO, line->data, line->length);
    if (!ok) fprintf(stderr, "aqengine: cannot write to stdout\n");
    aq_text_free(line);
    return ok ? AQ_OK : AQ_FAILED;
}

// Finds `name` in spec; *mark becomes '!', '*' or 0.
static bool in_spec(const char *spec, const char *name, char *mark) {
    size_t n = strlen(name);
    for (const char *s = spec; *s; s += strcspn(s, " "), s += strspn(s, " ")) {
        size_t word = strcspn(s, " !*");
        if (word != n || strncmp(s, name, n) != 0) continue;
        *mark = s[word] == ' ' ? 0 : s[word];
        return true;
    }
    return false;
}

bool aq_args_parse(struct aq_args *args, int argc, char **argv, const char *spec, struct aq_error *err) {
    *args = (struct aq_args){0};
    for (int i = 0; i < argc; i++) {
        char mark = 0;
        if (strncmp(argv[i], "--", 2) != 0 || !in_spec(spec, argv[i] + 2, &mark))
            return aq_fail(err, "usage", "unknown argument %s", argv[i]);
        if (aq_arg(args, argv[i] + 2)) return aq_fail(err, "usage", "%s is given twice", argv[i]);
        if (mark != '!' && i + 1 == argc) return aq_fail(err, "usage", "%s needs a value", argv[i]);
        args->names[args->count] = argv[i] + 2;
        args->values[args->count++] = mark == '!' ? "" : argv[++i];
    }
    for (const char *s = spec; *s; s += strcspn(s, " "), s += strspn(s, " ")) {
        char name[32];
        size_t word = strcspn(s, " !*");
        snprintf(name, sizeof name, "%.*s", (int)word, s);
        if (s[word] == '*' && !aq_arg(args, name)) return aq_fail(err, "usage", "--%s is missing", name);
    }
    return true;
}

const char *aq_arg(const struct aq_args *args, const char *name) {
    for (size_t i = 0; i < args->count; i++)
        if (strcmp(args->names[i], name) == 0) return args->values[i];
    return NULL;
}

bool aq_arg_number(const struct aq_args *args, const char *name, uint64_t fallback, uint64_t max, uint64_t *out,
                   struct aq_error *err) {
    const char *value = aq_arg(args, name);
    *out = fallback;
    return !value || aq_parse_u64(value, max, out) ||
           aq_fail(err, "usage", "--%s needs a number of at most %llu", name, (unsigned long long)max);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file-size limit is an error like a full disk
    if (argc < 2) return usage(stderr, AQ_USAGE);
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) return usage(stdout, AQ_OK);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        struct aq_args args;
        struct aq_error err;
        if (argc == 3 && strcmp(argv[2], "--help") == 0) {
            printf("aqengine %s %s\n", commands[i].name, commands[i].help);
            return AQ_OK;
        }
        if (!aq_args_parse(&args, argc - 2, argv + 2, commands[i].options, &err)) {
            fprintf(stderr, "aqengine: %s. Usage: aqengine %s %s\n", err.message, commands[i].name, commands[i].help);
            return AQ_USAGE;
        }
        return commands[i].run(&args);
    }
    fprintf(stderr, "aqengine: unknown command %.100s (try aqengine help)\n", argv[1]);
    return AQ_USAGE;
}
