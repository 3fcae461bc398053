#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool make_folder(const char *path, struct aq_error *err) {
    if (mkdir(path, 0755) == 0 || errno == EEXIST) return true;
    return aq_fail(err, "root", "cannot create %s: %s", path, strerror(errno));
}

bool aq_board_prepare(const char *root, struct aq_error *err) {
    char path[4096];
    if (!make_folder(root, err)) return false;
    if (!aq_path(path, sizeof path, "%s/jobs", root)) return aq_fail(err, "root", "root path is too long");
    if (!make_folder(path, err)) return false;
    aq_path(path, sizeof path, "%s/store", root);
    return make_folder(path, err);
}

bool aq_owner_read(const char *root, struct aq_owner *owner, struct aq_error *err) {
    *owner = (struct aq_owner){0};
    char path[4096];
    if (!aq_path(path, sizeof path, "%s/owner", root)) return aq_fail(err, "root", "root path is too long");
    char *text = aq_read_file(path, 4096, NULL);
    if (!text) return errno == ENOENT || aq_fail(err, "owner", "cannot read %s: %s", path, strerror(errno));
    text[strcspn(text, "\n")] = 0;
    char *space = strchr(text, ' ');
    if (space) *space = 0;
    bool ok = space && aq_is_name(text) && aq_parse_u64(space + 1, INT64_MAX, &owner->epoch);
    if (ok) {
        strcpy(owner->cluster, text);
        owner->present = true;
    }
    free(text);
    return ok || aq_fail(err, "owner", "%s is damaged; adopt the board again", path);
}

static bool owner_write(const char *root, const char *cluster, uint64_t epoch, struct aq_error *err) {
    char path[4096], line[256];
    if (!aq_path(path, sizeof path, "%s/owner", root)) return aq_fail(err, "root", "root path is too long");
    int n = snprintf(line, sizeof line, "%s %llu\n", cluster, (unsigned long long)epoch);
    return aq_replace_file(path, line, (size_t)n, err);
}

// A lock on the root folder itself keeps the check and the write of the owner together.
static int lock_root(const char *root, struct aq_error *err) {
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        aq_fail(err, "root", "cannot lock %s: %s", root, strerror(errno));
        if (fd >= 0) close(fd);
        return -1;
    }
    return fd;
}

int aq_owner_claim(const char *root, const char *cluster, uint64_t epoch, struct aq_error *err) {
    int lock = lock_root(root, err), code = AQ_FAILED;
    if (lock < 0) return AQ_FAILED;
    struct aq_owner owner;
    if (!aq_owner_read(root, &owner, err)) goto end;
    if (owner.present && strcmp(owner.cluster, cluster) != 0) {
        aq_fail(err, "other-cluster", "this board belongs to cluster %s; adopt it first", owner.cluster);
        code = AQ_OTHER_CLUSTER;
    } else if (owner.present && epoch < owner.epoch) {
        aq_fail(err, "epoch", "epoch %llu is older than %llu: another node owns this board now",
                (unsigned long long)epoch, (unsigned long long)owner.epoch);
        code = AQ_EPOCH;
    } else if ((owner.present && owner.epoch == epoch) || owner_write(root, cluster, epoch, err)) {
        code = AQ_OK;
    }
end:
    close(lock);
    return code;
}

static int open_lock(const char *path, struct aq_error *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) aq_fail(err, "lock", "cannot open %s: %s", path, strerror(errno));
    return fd;
}

// Looking at a lock (aq_lock_held) takes it shared for a moment, so a failure only counts when it lasts.
static bool take_lock(int fd) {
    for (int i = 0; i < 20; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
        if (errno != EWOULDBLOCK && errno != EINTR) return false;
        aq_sleep_ms(10);
    }
    return false;
}

int aq_locks_take(struct aq_locks *locks, const char *root, const char *job, struct aq_error *err) {
    char path[4096], running[512] = "";
    *locks = (struct aq_locks){-1, -1};
    if (!aq_path(path, sizeof path, "%s/engine.lock", root)) {
        aq_fail(err, "root", "root path is too long");
        return AQ_FAILED;
    }
    if ((locks->engine = open_lock(path, err)) < 0) return AQ_FAILED;
    if (!take_lock(locks->engine)) {
        ssize_t n = pread(locks->engine, running, sizeof running - 1, 0);
        running[n > 0 ? strcspn(running, "\n") : 0] = 0;
        char *attempt = strrchr(running, ' ');
        aq_fail(err, "busy", "an engine runs on this board already (%s); wait for it or stop it",
                attempt ? attempt + 1 : "unknown attempt");
        aq_locks_drop(locks);
        return AQ_BUSY;
    }
    if (!job) return AQ_OK;
    if (!aq_path(path, sizeof path, "%s/jobs/%s/lock", root, job) || (locks->job = open_lock(path, err)) < 0) {
        aq_locks_drop(locks);
        return AQ_FAILED;
    }
    if (!take_lock(locks->job)) {
        aq_fail(err, "busy", "this attempt runs already");
        aq_locks_drop(locks);
        return AQ_BUSY;
    }
    return AQ_OK;
}

bool aq_locks_sign(const struct aq_locks *locks, const char *job, struct aq_error *err) {
    char boot[64], line[512];
    aq_boot_id(NULL, boot);
    for (int i = 0; i < 2; i++) {
        int fd = i ? locks->job : locks->engine;
        int n = i ? snprintf(line, sizeof line, "%ld %s\n", (long)getpid(), boot)
                  : snprintf(line, sizeof line, "%ld %s %s\n", (long)getpid(), boot, job);
        if (ftruncate(fd, 0) != 0 || pwrite(fd, line, (size_t)n, 0) != n)
            return aq_fail(err, "lock", "cannot write a lock file: %s (free some space on the board)", strerror(errno));
    }
    return true;
}

void aq_locks_drop(struct aq_locks *locks) {
    if (locks->job >= 0) close(locks->job);
    if (locks->engine >= 0) close(locks->engine);
    *locks = (struct aq_locks){-1, -1};
}

int aq_owner_adopt(const char *root, const char *cluster, uint64_t epoch, struct aq_error *err) {
    int lock = lock_root(root, err);
    if (lock < 0) return AQ_FAILED;
    struct aq_locks locks;
    int code = aq_locks_take(&locks, root, NULL, err);
    if (code == AQ_OK) {
        // A node that was paused in the middle of adopting must not take the epoch back.
        struct aq_owner owner;
        if (aq_owner_read(root, &owner, err) && owner.present && strcmp(owner.cluster, cluster) == 0 &&
            owner.epoch > epoch)
            epoch = owner.epoch;
        if (!owner_write(root, cluster, epoch, err)) code = AQ_FAILED;
        aq_locks_drop(&locks);
    }
    close(lock);
    return code;
}

bool aq_lock_held(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

const char *aq_job_state_name(enum aq_job_state state) {
    static const char *const names[] = {"missing", "prepared", "running", "lost", "done", "failed", "stopped"};
    return names[state];
}

enum aq_job_state aq_journal_end(const char *path, uint64_t *size) {
    char tail[4097];
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return AQ_JOB_MISSING;
    struct stat st;
    ssize_t n = -1;
    if (fstat(fd, &st) == 0) {
        *size = (uint64_t)st.st_size;
        off_t from = st.st_size > 4096 ? st.st_size - 4096 : 0;
        n = pread(fd, tail, (size_t)(st.st_size - from), from);
    }
    close(fd);
    if (n <= 0 || tail[n - 1] != '\n') return AQ_JOB_MISSING;
    tail[n - 1] = 0;
    char *line = strrchr(tail, '\n');
    line = line ? line + 1 : tail;
    if (!strstr(line, ",\"event\":\"end\",")) return AQ_JOB_MISSING;
    for (int s = AQ_JOB_DONE; s <= AQ_JOB_STOPPED; s++) {
        char status[32];
        snprintf(status, sizeof status, "\"status\":\"%s\"", aq_job_state_name((enum aq_job_state)s));
        if (strstr(line, status)) return (enum aq_job_state)s;
    }
    return AQ_JOB_MISSING;
}

// The pid in a held lock, if it was written on this boot.
static int64_t lock_pid(const char *path) {
    char boot[64];
    aq_boot_id(NULL, boot);
    char *text = aq_read_file(path, 4096, NULL);
    if (!text) return 0;
    text[strcspn(text, "\n")] = 0;
    uint64_t pid = 0;
    char *space = strchr(text, ' ');
    if (space) *space = 0;
    if (!space || strcmp(space + 1, boot) != 0 || !aq_parse_u64(text, INT32_MAX, &pid) || pid <= 1) pid = 0;
    free(text);
    return (int64_t)pid;
}

void aq_job_look(const char *root, const char *job, struct aq_job *out) {
    char folder[4096], lock[4200], journal[4200], plan[4200];
    *out = (struct aq_job){0};
    struct stat st;
    if (!aq_path(folder, sizeof folder, "%s/jobs/%s", root, job) || stat(folder, &st) != 0) return;
    aq_path(lock, sizeof lock, "%s/lock", folder);
    aq_path(journal, sizeof journal, "%s/events.jsonl", folder);
    aq_path(plan, sizeof plan, "%s/plan", folder);
    // The lock first: an engine that ends between the two looks has written its `end` by then.
    bool held = aq_lock_held(lock);
    enum aq_job_state end = aq_journal_end(journal, &out->journal_size);
    if (held) {
        out->state = AQ_JOB_RUNNING;
        out->pid = lock_pid(lock);
    } else if (end != AQ_JOB_MISSING) {
        out->state = end;
    } else {
        out->state = out->journal_size || stat(lock, &st) == 0 ? AQ_JOB_LOST : AQ_JOB_PREPARED;
    }
}
