#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool aq_fail(struct aq_error *err, const char *code, const char *format, ...) {
    if (err) {
        snprintf(err->code, sizeof err->code, "%s", code);
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return false;
}

void aq_text_free(struct aq_text *t) {
    free(t->data);
    *t = (struct aq_text){0};
}

void aq_text_clear(struct aq_text *t) {
    t->length = 0;
    if (t->data) t->data[0] = 0;
}

static bool text_reserve(struct aq_text *t, size_t more) {
    size_t need;
    if (t->failed || !aq_add(t->length, more, &need) || !aq_add(need, 1, &need)) {
        t->failed = true;
        return false;
    }
    if (need <= t->capacity) return true;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity < need) {
        if (!aq_mul(capacity, 2, &capacity)) {
            t->failed = true;
            return false;
        }
    }
    char *data = realloc(t->data, capacity);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

void aq_text_add(struct aq_text *t, const char *data, size_t length) {
    if (!text_reserve(t, length)) return;
    memcpy(t->data + t->length, data, length);
    t->length += length;
    t->data[t->length] = 0;
}

void aq_text_vprintf(struct aq_text *t, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n >= 0 && text_reserve(t, (size_t)n)) {
        vsnprintf(t->data + t->length, (size_t)n + 1, format, again);
        t->length += (size_t)n;
    } else {
        t->failed = true;
    }
    va_end(again);
}

void aq_text_printf(struct aq_text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    aq_text_vprintf(t, format, args);
    va_end(args);
}

// Length of the UTF-8 sequence at s, 0 when it is not one.
static size_t utf8_length(const unsigned char *s) {
    size_t n = s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC2 ? 2 : 0;
    if (s[0] > 0xF4) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if (s[0] == 0xE0 && s[1] < 0xA0) return 0; // overlong
    if (s[0] == 0xED && s[1] > 0x9F) return 0; // surrogates
    if (s[0] == 0xF0 && s[1] < 0x90) return 0; // overlong
    if (s[0] == 0xF4 && s[1] > 0x8F) return 0; // beyond U+10FFFF
    return n;
}

void aq_json_string(struct aq_text *t, const char *value) {
    if (!value) {
        aq_text_add(t, "null", 4);
        return;
    }
    aq_text_add(t, "\"", 1);
    for (const unsigned char *s = (const unsigned char *)value; *s;) {
        if (*s == '"' || *s == '\\') {
            aq_text_printf(t, "\\%c", *s++);
        } else if (*s < 0x20 || *s == 0x7F) {
            aq_text_printf(t, "\\u%04x", *s++);
        } else if (*s < 0x80) {
            aq_text_add(t, (const char *)s++, 1);
        } else {
            size_t n = utf8_length(s);
            if (n)
                aq_text_add(t, (const char *)s, n);
            else
                aq_text_add(t, "\\ufffd", 6);
            s += n ? n : 1;
        }
    }
    aq_text_add(t, "\"", 1);
}

void aq_json_number(struct aq_text *t, double value) {
    if (!isfinite(value))
        aq_text_add(t, "null", 4);
    else if (value == floor(value) && fabs(value) < 1e15)
        aq_text_printf(t, "%.0f", value);
    else
        aq_text_printf(t, "%.9g", value);
}

void aq_json_key(struct aq_text *t, const char *key) {
    if (t->length && t->data[t->length - 1] != '{' && t->data[t->length - 1] != '[') aq_text_add(t, ",", 1);
    aq_json_string(t, key);
    aq_text_add(t, ":", 1);
}

void aq_json_kv_string(struct aq_text *t, const char *key, const char *value) {
    aq_json_key(t, key);
    aq_json_string(t, value);
}

void aq_json_kv_int(struct aq_text *t, const char *key, int64_t value) {
    aq_json_key(t, key);
    aq_text_printf(t, "%lld", (long long)value);
}

void aq_json_kv_number(struct aq_text *t, const char *key, double value) {
    aq_json_key(t, key);
    aq_json_number(t, value);
}

void aq_json_kv_bool(struct aq_text *t, const char *key, bool value) {
    aq_json_key(t, key);
    aq_text_printf(t, value ? "true" : "false");
}

bool aq_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

bool aq_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

uint64_t aq_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t aq_unix_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

void aq_sleep_ms(unsigned ms) {
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) == -1 && errno == EINTR) {
    }
}

bool aq_path(char *buffer, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(buffer, size, format, args);
    va_end(args);
    return n >= 0 && (size_t)n < size;
}

char *aq_read_file(const char *path, size_t limit, size_t *length) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    size_t capacity = 4096, n = 0;
    char *data = malloc(capacity);
    while (data) {
        ssize_t got = read(fd, data + n, capacity - 1 - n); // proc files have no size: read to the end
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (got == 0) break;
            free(data);
            data = NULL;
            break;
        }
        n += (size_t)got;
        if (n > limit) {
            free(data);
            data = NULL;
            errno = EFBIG;
            break;
        }
        if (n == capacity - 1) {
            capacity *= 2;
            char *more = realloc(data, capacity);
            if (!more) {
                free(data);
                errno = ENOMEM;
            }
            data = more;
        }
    }
    int saved = errno;
    close(fd);
    errno = saved;
    if (!data) return NULL;
    data[n] = 0;
    if (length) *length = n;
    return data;
}

bool aq_write_all(int fd, const void *data, size_t length) {
    const char *p = data;
    while (length) {
        ssize_t n = write(fd, p, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = ENOSPC;
            return false;
        }
        p += n;
        length -= (size_t)n;
    }
    return true;
}

bool aq_replace_file(const char *path, const void *data, size_t length, struct aq_error *err) {
    char temporary[4096], folder[4096];
    if (!aq_path(temporary, sizeof temporary, "%s.tmp", path) || !aq_path(folder, sizeof folder, "%s", path))
        return aq_fail(err, "path", "path too long: %s", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return aq_fail(err, "write", "cannot create %s: %s", temporary, strerror(errno));
    bool ok = aq_write_all(fd, data, length) && fsync(fd) == 0;
    int saved = errno;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(temporary, path) != 0) {
        if (ok) saved = errno;
        unlink(temporary);
        return aq_fail(err, "write", "cannot write %s: %s (free some space on the board)", path, strerror(saved));
    }
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    int dir = open(slash ? (folder[0] ? folder : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        fsync(dir); // some file systems refuse it for folders; the rename stands either way
        close(dir);
    }
    return true;
}

bool aq_parse_u64(const char *text, uint64_t max, uint64_t *out) {
    if (!*text) return false;
    uint64_t value = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (value > max) return false;
    *out = value;
    return true;
}

bool aq_parse_fraction(const char *text, double *out) {
    for (const char *s = text; *s; s++)
        if (!((*s >= '0' && *s <= '9') || *s == '.')) return false;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value < 1)) return false;
    *out = value;
    return true;
}

bool aq_is_name(const char *text) {
    size_t n = strlen(text);
    if (n == 0 || n > 128) return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && !(i && (c == '-' || c == '_' || c == '.'))) return false;
    }
    return true;
}

bool aq_is_sha256(const char *text) {
    if (strlen(text) != 64) return false;
    for (; *text; text++)
        if (!((*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'f'))) return false;
    return true;
}

void aq_boot_id(const char *proc, char out[64]) {
    char path[4096];
    snprintf(out, 64, "unknown");
    if (!aq_path(path, sizeof path, "%s/sys/kernel/random/boot_id", proc ? proc : "/proc")) return;
    size_t n;
    char *text = aq_read_file(path, 4096, &n);
    if (!text) return;
    size_t keep = strcspn(text, " \t\r\n");
    if (keep > 0 && keep < 64) {
        memcpy(out, text, keep);
        out[keep] = 0;
    }
    free(text);
}
