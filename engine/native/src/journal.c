#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool aq_journal_open(struct aq_journal *j, const char *path, bool echo, struct aq_error *err) {
    *j = (struct aq_journal){.echo = echo, .start_ns = aq_now_ns()};
    j->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (j->fd < 0) return aq_fail(err, "journal", "cannot create %s: %s", path, strerror(errno));
    pthread_mutex_init(&j->mutex, NULL);
    return true;
}

void aq_journal_close(struct aq_journal *j) {
    close(j->fd);
    pthread_mutex_destroy(&j->mutex);
}

static bool broken(struct aq_journal *j, const char *what) {
    j->broken = true;
    return aq_fail(&j->error, "journal", "cannot %s the journal: %s (free some space on the board)", what,
                   strerror(errno));
}

static bool append(struct aq_journal *j, const struct aq_text *line, bool sync) {
    struct stat before;
    bool sized = fstat(j->fd, &before) == 0;
    if (line->failed) errno = ENOMEM;
    if (line->failed || !aq_write_all(j->fd, line->data, line->length)) {
        int saved = errno;
        if (sized && ftruncate(j->fd, before.st_size) != 0) sized = false; // no half line stays behind
        errno = saved;
        return broken(j, "write");
    }
    if (sync && fsync(j->fd) != 0 && errno != EINVAL && errno != EROFS) return broken(j, "sync");
    return true;
}

bool aq_journal_event(struct aq_journal *j, const char *event, const struct aq_text *fields, bool sync) {
    struct aq_text line = {0};
    pthread_mutex_lock(&j->mutex);
    bool ok = !j->broken;
    if (ok) {
        aq_text_printf(&line, "{\"seq\":%llu,\"ms\":%llu,\"event\":\"%s\"", (unsigned long long)j->seq,
                       (unsigned long long)((aq_now_ns() - j->start_ns) / 1000000), event);
        if (fields && fields->failed) line.failed = true;
        if (fields && fields->length) aq_text_printf(&line, ",%s", fields->data);
        aq_text_add(&line, "}\n", 2);
        ok = append(j, &line, sync);
        if (ok) j->seq++;
        if (ok && j->echo && !aq_write_all(STDOUT_FILENO, line.data, line.length)) j->echo = false; // nobody listens
    }
    pthread_mutex_unlock(&j->mutex);
    aq_text_free(&line);
    return ok;
}

void aq_journal_error(struct aq_journal *j, const struct aq_error *error, int64_t block) {
    struct aq_text t = {0};
    aq_json_kv_string(&t, "code", error->code);
    aq_json_kv_string(&t, "message", error->message);
    if (block >= 0) aq_json_kv_int(&t, "block", block);
    aq_journal_event(j, "error", &t, true);
    aq_text_free(&t);
    fprintf(stderr, "aqengine: %s\n", error->message);
}
