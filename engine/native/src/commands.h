// The commands of docs/engine-protocol.md; each returns the exit code.
#ifndef AQ_COMMANDS_H
#define AQ_COMMANDS_H

#include "util.h"

// Options as given: `--name value`, or `--name` for flags. Unknown or repeated ones are refused.
struct aq_args {
    const char *names[24], *values[24];
    size_t count;
};

// spec: names separated by spaces; flags end with '!', required ones with '*'.
bool aq_args_parse(struct aq_args *args, int argc, char **argv, const char *spec, struct aq_error *err);
const char *aq_arg(const struct aq_args *args, const char *name); // NULL when absent; "" for a flag
bool aq_arg_number(const struct aq_args *args, const char *name, uint64_t fallback, uint64_t max, uint64_t *out,
                   struct aq_error *err);

int aq_report(const struct aq_error *err, int code); // prints the one line, returns code
int aq_print(struct aq_text *line);                  // to stdout with a newline; frees it

int aq_cmd_info(const struct aq_args *args);
int aq_cmd_sample(const struct aq_args *args);
int aq_cmd_selftest(const struct aq_args *args);
int aq_cmd_roofline(const struct aq_args *args);
int aq_cmd_kernels(const struct aq_args *args);
int aq_cmd_run(const struct aq_args *args);
int aq_cmd_start(const struct aq_args *args);
int aq_cmd_adopt(const struct aq_args *args);
int aq_cmd_follow(const struct aq_args *args);
int aq_cmd_stop(const struct aq_args *args);
int aq_cmd_status(const struct aq_args *args);
int aq_cmd_logits(const struct aq_args *args);
int aq_cmd_accumulate(const struct aq_args *args);

#endif
