// What an engine finds on a board that another process, or a crash, left there: owner file, journal, lock. The first
// byte says which of them the rest is.
#include "../src/board.h"
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[96];

static void remove_root(void) {
    static const char *const inside[] = {"owner",  "engine.lock", "jobs/a/lock", "jobs/a/events.jsonl",
                                         "jobs/a", "jobs",        "store"};
    char path[160];
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        snprintf(path, sizeof path, "%s/%s", root, inside[i]);
        if (unlink(path) != 0) rmdir(path);
    }
    rmdir(root);
}

static void make_root(void) {
    struct aq_error err;
    char path[160];
    const char *folder = getenv("TMPDIR");
    int n = snprintf(root, sizeof root, "%s/aq-fuzz-XXXXXX", folder ? folder : "/tmp");
    if (n >= (int)sizeof root || !mkdtemp(root) || !aq_board_prepare(root, &err)) abort();
    snprintf(path, sizeof path, "%s/jobs/a", root);
    if (mkdir(path, 0755) != 0) abort();
    atexit(remove_root);
}

static void put(const char *name, const uint8_t *data, size_t size) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!root[0]) make_root();
    if (size == 0) return 0;
    struct aq_error err = {0};
    switch (data[0] % 3) {
    case 0: {
        struct aq_owner owner;
        put("owner", data + 1, size - 1);
        if (!aq_owner_read(root, &owner, &err)) {
            if (!err.message[0] || owner.present) abort();
        } else if (!owner.present || !aq_is_name(owner.cluster)) {
            abort();
        }
        break;
    }
    case 1: {
        struct aq_job job;
        put("jobs/a/events.jsonl", data + 1, size - 1);
        aq_job_look(root, "a", &job);
        if (job.journal_size != size - 1 || job.state == AQ_JOB_MISSING || job.state == AQ_JOB_RUNNING) abort();
        break;
    }
    default: {
        struct aq_locks locks;
        struct aq_job job;
        if (aq_locks_take(&locks, root, "a", &err) != AQ_OK) abort();
        put("jobs/a/lock", data + 1, size - 1); // in the lock's own file: it stays held
        aq_job_look(root, "a", &job);
        if (job.state != AQ_JOB_RUNNING || job.pid < 0 || job.pid == 1) abort();
        aq_locks_drop(&locks);
        break;
    }
    }
    return 0;
}
