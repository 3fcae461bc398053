// What makes one engine at a time run on a board, for one cluster: owner file, locks, jobs on disk.
#ifndef AQ_BOARD_H
#define AQ_BOARD_H

#include "util.h"

struct aq_owner {
    bool present;
    char cluster[129];
    uint64_t epoch;
};

// The board's folder; created when missing.
bool aq_board_prepare(const char *root, struct aq_error *err);
bool aq_owner_read(const char *root, struct aq_owner *owner, struct aq_error *err);

// Checks and records under the board's own short lock. Returns an exit code: 0, AQ_EPOCH, AQ_OTHER_CLUSTER, AQ_FAILED.
int aq_owner_claim(const char *root, const char *cluster, uint64_t epoch, struct aq_error *err);
// Replaces the owner when nothing runs: 0, AQ_BUSY, AQ_FAILED.
int aq_owner_adopt(const char *root, const char *cluster, uint64_t epoch, struct aq_error *err);

struct aq_locks {
    int engine, job;
};

// Takes engine.lock and the job's lock: 0, AQ_BUSY, AQ_FAILED.
int aq_locks_take(struct aq_locks *locks, const char *root, const char *job, struct aq_error *err);
// Writes `<pid> <boot-id>` of the calling process into both (engine.lock: and the attempt).
bool aq_locks_sign(const struct aq_locks *locks, const char *job, struct aq_error *err);
void aq_locks_drop(struct aq_locks *locks);

enum aq_job_state {
    AQ_JOB_MISSING,
    AQ_JOB_PREPARED,
    AQ_JOB_RUNNING,
    AQ_JOB_LOST,
    AQ_JOB_DONE,
    AQ_JOB_FAILED,
    AQ_JOB_STOPPED
};

const char *aq_job_state_name(enum aq_job_state state);

struct aq_job {
    enum aq_job_state state;
    uint64_t journal_size;
    int64_t pid; // while it runs on this boot, else 0
};

void aq_job_look(const char *root, const char *job, struct aq_job *out);
bool aq_lock_held(const char *path);

// The state an `end` line at the end of the journal gives, or AQ_JOB_MISSING.
enum aq_job_state aq_journal_end(const char *path, uint64_t *size);

#endif
