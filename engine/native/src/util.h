// Small things every part needs: errors, growing text, whole-file I/O, time.
#ifndef AQ_UTIL_H
#define AQ_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AQ_VERSION "0.1.0"
#ifndef AQ_BUILD
#define AQ_BUILD "unknown" // build.sh: a hash of the sources
#endif

// Exit codes of docs/engine-protocol.md.
enum {
    AQ_OK = 0,
    AQ_FAILED = 1,
    AQ_STOPPED = 2,
    AQ_LOST = 3,
    AQ_TIMEOUT = 4,
    AQ_EPOCH = 10,
    AQ_OTHER_CLUSTER = 11,
    AQ_BUSY = 12,
    AQ_BAD_PLAN = 13,
    AQ_USAGE = 64,
};

// What went wrong: a stable code for programs and one line for people.
struct aq_error {
    char code[32];
    char message[480];
};

// Fills err and returns false, so that `return aq_fail(err, ...)` reads well.
bool aq_fail(struct aq_error *err, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Text that grows. `failed` is set, and stays set, when memory ran out.
struct aq_text {
    char *data;
    size_t length, capacity;
    bool failed;
};

void aq_text_free(struct aq_text *t);
void aq_text_clear(struct aq_text *t);
void aq_text_add(struct aq_text *t, const char *data, size_t length);
void aq_text_printf(struct aq_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void aq_text_vprintf(struct aq_text *t, const char *format, va_list args);

// JSON pieces. `aq_json_key` writes the comma too, except after '{' or '['.
void aq_json_string(struct aq_text *t, const char *value); // NULL: null
void aq_json_number(struct aq_text *t, double value);      // NaN and infinities: null
void aq_json_key(struct aq_text *t, const char *key);
void aq_json_kv_string(struct aq_text *t, const char *key, const char *value);
void aq_json_kv_int(struct aq_text *t, const char *key, int64_t value);
void aq_json_kv_number(struct aq_text *t, const char *key, double value);
void aq_json_kv_bool(struct aq_text *t, const char *key, bool value);

// a * b, a + b; false when the result does not fit.
bool aq_mul(size_t a, size_t b, size_t *out);
bool aq_add(size_t a, size_t b, size_t *out);

uint64_t aq_now_ns(void);      // monotonic
uint64_t aq_unix_ms(void);     // wall clock
void aq_sleep_ms(unsigned ms); // returns early on no signal

// A path of at most sizeof(buffer) bytes; false when it does not fit.
bool aq_path(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

// A file of at most `limit` bytes, NUL-terminated; free() it. NULL and errno when it cannot be read; EFBIG: too big.
char *aq_read_file(const char *path, size_t limit, size_t *length);
// Temporary name beside it, fsync, rename, fsync of the folder.
bool aq_replace_file(const char *path, const void *data, size_t length, struct aq_error *err);
bool aq_write_all(int fd, const void *data, size_t length);

// Decimal without sign, white space or rest; false otherwise or above `max`.
bool aq_parse_u64(const char *text, uint64_t max, uint64_t *out);
bool aq_parse_fraction(const char *text, double *out); // 0 < value < 1
// A name that is safe as one path component: [A-Za-z0-9][A-Za-z0-9._-]*, at most 128.
bool aq_is_name(const char *text);
bool aq_is_sha256(const char *text);

// /proc/sys/kernel/random/boot_id, or "unknown" (some phones hide it).
void aq_boot_id(const char *proc, char out[64]);

static inline size_t aq_round_up(size_t value, size_t unit) {
    return (value + unit - 1) / unit * unit;
}
static inline size_t aq_min(size_t a, size_t b) {
    return a < b ? a : b;
}
static inline size_t aq_max(size_t a, size_t b) {
    return a > b ? a : b;
}

#endif
