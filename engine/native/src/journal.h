// The append-only journal of a job: one JSON object a line, from any thread, also to stdout in `run`.
#ifndef AQ_JOURNAL_H
#define AQ_JOURNAL_H

#include "util.h"

#include <pthread.h>

struct aq_journal {
    int fd;
    bool echo;   // to stdout as well
    bool broken; // a write failed; nothing more is written
    uint64_t start_ns, seq;
    struct aq_error error; // why it is broken
    pthread_mutex_t mutex;
};

bool aq_journal_open(struct aq_journal *j, const char *path, bool echo, struct aq_error *err);
void aq_journal_close(struct aq_journal *j);

// fields: the rest of the object, `"key":value,...` without braces, may be empty. sync: fsync afterwards.
// A line is written whole or not at all. false once the journal is broken.
bool aq_journal_event(struct aq_journal *j, const char *event, const struct aq_text *fields, bool sync);

// An `error` event; block < 0: none.
void aq_journal_error(struct aq_journal *j, const struct aq_error *error, int64_t block);

#endif
