// run, start, adopt, follow, stop, status: one job at a time on a board.
#include "board.h"
#include "commands.h"
#include "job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool need_job(const struct aq_args *args, struct aq_error *err) {
    return aq_is_name(aq_arg(args, "job")) ||
           aq_fail(err, "usage", "--job must be a plain name (letters, digits, - _ .)");
}

// The plan, checked as far as possible without opening artifacts.
static struct aq_plan *read_plan(const char *root, const char *job, struct aq_error *err) {
    char path[4096];
    struct aq_plan *plan = malloc(sizeof *plan);
    if (!plan) {
        aq_fail(err, "memory", "out of memory for the plan");
        return NULL;
    }
    struct stat st;
    bool ok = aq_path(path, sizeof path, "%s/jobs/%s/plan", root, job) || aq_fail(err, "root", "root path is too long");
    ok = ok && aq_plan_read(plan, path, err);
    if (ok && strcmp(plan->attempt, job) != 0)
        ok = aq_fail(err, "plan", "the plan is for attempt %s, the job is %s", plan->attempt, job);
    if (ok && aq_path(path, sizeof path, "%s/jobs/%s/events.jsonl", root, job) && stat(path, &st) == 0)
        ok = aq_fail(err, "plan", "attempt %s has run before; look at its status, or make a new attempt", job);
    if (ok) return plan;
    free(plan);
    return NULL;
}

int aq_cmd_run(const struct aq_args *args) {
    struct aq_error err;
    struct aq_job_options options = {aq_arg(args, "root"), aq_arg(args, "job"), aq_arg(args, "store"), true};
    if (!need_job(args, &err)) return aq_report(&err, AQ_USAGE);
    if (!aq_board_prepare(options.root, &err)) return aq_report(&err, AQ_FAILED);
    struct aq_plan *plan = read_plan(options.root, options.job, &err);
    if (!plan) return aq_report(&err, AQ_BAD_PLAN);
    struct aq_locks locks;
    int code = aq_locks_take(&locks, options.root, options.job, &err);
    if (code != AQ_OK) {
        aq_report(&err, code);
    } else {
        code = aq_locks_sign(&locks, options.job, &err) ? aq_job_run(&options, plan) : aq_report(&err, AQ_FAILED);
        aq_locks_drop(&locks);
    }
    free(plan);
    return code;
}

// In the grandchild: no terminal, no inherited files but the locks and the pipe to the parent.
static bool detach(const char *root, const char *job, struct aq_error *err) {
    char path[4096];
    if (!aq_path(path, sizeof path, "%s/jobs/%s/log", root, job)) return aq_fail(err, "root", "root path is too long");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (null < 0 || log < 0)
        return aq_fail(err, "log", "cannot open %s: %s", log < 0 ? path : "/dev/null", strerror(errno));
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
        return aq_fail(err, "log", "cannot redirect: %s", strerror(errno));
    close(null);
    close(log);
    return true;
}

static void engine(const struct aq_job_options *options, const struct aq_plan *plan, struct aq_locks *locks,
                   int ready) {
    struct aq_error err = {0};
    bool ok = detach(options->root, options->job, &err) && aq_locks_sign(locks, options->job, &err);
    aq_write_all(ready, ok ? "ok" : err.message, ok ? 2 : strlen(err.message));
    close(ready);
    int code = ok ? aq_job_run(options, plan) : AQ_FAILED;
    aq_locks_drop(locks);
    _exit(code);
}

// Forks twice, so that the engine has no parent and no terminal; the locks go with it (one open file description).
static int spawn(const struct aq_job_options *options, const struct aq_plan *plan, struct aq_locks *locks,
                 struct aq_error *err) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0) {
        aq_fail(err, "start", "cannot make a pipe: %s", strerror(errno));
        return AQ_FAILED;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(ready[0]);
        setsid();
        pid_t grandchild = fork();
        if (grandchild == 0) engine(options, plan, locks, ready[1]);
        _exit(grandchild < 0);
    }
    close(ready[1]);
    int status = 1;
    if (child > 0)
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
    char answer[500];
    ssize_t n = child > 0 && status == 0 ? read(ready[0], answer, sizeof answer - 1) : -1;
    close(ready[0]);
    answer[n > 0 ? n : 0] = 0;
    if (strcmp(answer, "ok") == 0) return AQ_OK;
    aq_fail(err, "start", "%s", n > 0 ? answer : "the engine could not be started (too many processes or no memory)");
    return AQ_FAILED;
}

int aq_cmd_start(const struct aq_args *args) {
    struct aq_error err;
    struct aq_job_options options = {aq_arg(args, "root"), aq_arg(args, "job"), aq_arg(args, "store"), false};
    const char *cluster = aq_arg(args, "cluster");
    uint64_t epoch;
    if (!need_job(args, &err) || !aq_arg_number(args, "epoch", 0, INT64_MAX, &epoch, &err))
        return aq_report(&err, AQ_USAGE);
    if (!aq_is_name(cluster)) {
        aq_fail(&err, "usage", "--cluster must be a plain name");
        return aq_report(&err, AQ_USAGE);
    }
    if (!aq_board_prepare(options.root, &err)) return aq_report(&err, AQ_FAILED);
    int code = aq_owner_claim(options.root, cluster, epoch, &err);
    if (code != AQ_OK) return aq_report(&err, code);
    struct aq_locks locks = {-1, -1};
    struct aq_job running;
    aq_job_look(options.root, options.job, &running);
    struct aq_plan *plan = running.state == AQ_JOB_RUNNING ? NULL : read_plan(options.root, options.job, &err);
    if (running.state == AQ_JOB_RUNNING) {
        aq_fail(&err, "busy", "attempt %s runs already; follow it", options.job);
        return aq_report(&err, AQ_BUSY);
    }
    if (!plan) return aq_report(&err, AQ_BAD_PLAN);
    code = aq_locks_take(&locks, options.root, options.job, &err);
    if (code == AQ_OK) code = spawn(&options, plan, &locks, &err);
    if (code == AQ_OK) {
        char boot[64];
        struct aq_text line = {0};
        aq_boot_id(NULL, boot);
        aq_text_printf(&line, "{\"event\":\"started\"");
        aq_json_kv_string(&line, "attempt", options.job);
        aq_json_kv_string(&line, "boot_id", boot);
        aq_text_printf(&line, "}");
        code = aq_print(&line);
    } else {
        aq_report(&err, code);
    }
    aq_locks_drop(&locks);
    free(plan);
    return code;
}

int aq_cmd_adopt(const struct aq_args *args) {
    struct aq_error err;
    uint64_t epoch;
    const char *root = aq_arg(args, "root"), *cluster = aq_arg(args, "cluster");
    if (!aq_arg_number(args, "epoch", 0, INT64_MAX, &epoch, &err)) return aq_report(&err, AQ_USAGE);
    if (!aq_is_name(cluster)) {
        aq_fail(&err, "usage", "--cluster must be a plain name");
        return aq_report(&err, AQ_USAGE);
    }
    if (!aq_board_prepare(root, &err)) return aq_report(&err, AQ_FAILED);
    int code = aq_owner_adopt(root, cluster, epoch, &err);
    return code == AQ_OK ? AQ_OK : aq_report(&err, code);
}

// Copies what the journal has beyond *offset to stdout. false when stdout is gone or the journal unreadable.
static bool copy_journal(const char *path, uint64_t *offset, bool *any) {
    char buffer[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *any = false;
    if (fd < 0) return errno == ENOENT;
    bool ok = true;
    for (;;) {
        ssize_t n = pread(fd, buffer, sizeof buffer, (off_t)*offset);
        if (n < 0 && errno == EINTR) continue;
        ok = n >= 0 && (n == 0 || aq_write_all(STDOUT_FILENO, buffer, (size_t)n));
        if (n <= 0 || !ok) break;
        *offset += (uint64_t)n;
        *any = true;
    }
    close(fd);
    return ok;
}

int aq_cmd_follow(const struct aq_args *args) {
    struct aq_error err;
    const char *root = aq_arg(args, "root"), *job = aq_arg(args, "job");
    uint64_t offset, timeout;
    char path[4096];
    if (!need_job(args, &err) || !aq_arg_number(args, "offset", 0, INT64_MAX, &offset, &err) ||
        !aq_arg_number(args, "timeout", 3600, 1000000, &timeout, &err))
        return aq_report(&err, AQ_USAGE);
    if (!aq_path(path, sizeof path, "%s/jobs/%s/events.jsonl", root, job)) {
        aq_fail(&err, "root", "root path is too long");
        return aq_report(&err, AQ_FAILED);
    }
    uint64_t deadline = aq_now_ns() + timeout * 1000000000u;
    unsigned pause = 20;
    for (;;) {
        // State first, bytes second: what the state says is in the bytes by then.
        struct aq_job look;
        bool any;
        aq_job_look(root, job, &look);
        if (!copy_journal(path, &offset, &any)) {
            aq_fail(&err, "follow", "cannot read %s or write to stdout: %s", path, strerror(errno));
            return aq_report(&err, AQ_FAILED);
        }
        uint64_t size;
        if (aq_journal_end(path, &size) != AQ_JOB_MISSING && offset >= size) return AQ_OK;
        if (look.state == AQ_JOB_MISSING || look.state == AQ_JOB_LOST || look.state == AQ_JOB_PREPARED) {
            aq_fail(&err, "lost", "no engine runs attempt %s and its journal has no end (%s)", job,
                    aq_job_state_name(look.state));
            return aq_report(&err, AQ_LOST);
        }
        uint64_t now = aq_now_ns();
        if (now >= deadline) return AQ_TIMEOUT;
        pause = any ? 20 : (unsigned)aq_min(pause * 2, 200);
        aq_sleep_ms((unsigned)aq_min(pause, (size_t)((deadline - now) / 1000000 + 1)));
    }
}

static bool wait_until_free(const char *root, const char *job, uint64_t ms) {
    uint64_t deadline = aq_now_ns() + ms * 1000000u;
    struct aq_job look;
    for (;;) {
        aq_job_look(root, job, &look);
        if (look.state != AQ_JOB_RUNNING) return true;
        if (aq_now_ns() >= deadline) return false;
        aq_sleep_ms(50);
    }
}

int aq_cmd_stop(const struct aq_args *args) {
    enum { SIGNAL_WAIT_MS = 5000 };
    struct aq_error err;
    const char *root = aq_arg(args, "root"), *job = aq_arg(args, "job");
    uint64_t wait;
    char path[4096];
    if (!need_job(args, &err) || !aq_arg_number(args, "wait", 10, 86400, &wait, &err)) return aq_report(&err, AQ_USAGE);
    struct aq_job look;
    aq_job_look(root, job, &look);
    if (look.state != AQ_JOB_RUNNING) return AQ_OK;
    if (!aq_path(path, sizeof path, "%s/jobs/%s/stop", root, job)) return AQ_FAILED;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) close(fd); // a full disk is no reason not to stop: the signals follow
    if (wait_until_free(root, job, wait * 1000)) return AQ_OK;
    static const int signals[] = {SIGTERM, SIGKILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        aq_job_look(root, job, &look); // the pid counts only while the lock is held
        if (look.state != AQ_JOB_RUNNING) return AQ_OK;
        if (look.pid > 1) kill((pid_t)look.pid, signals[i]);
        if (wait_until_free(root, job, SIGNAL_WAIT_MS)) return AQ_OK;
    }
    aq_fail(&err, "stop", "attempt %s still runs after SIGKILL (waiting for a disk?)", job);
    return aq_report(&err, AQ_FAILED);
}

static void add_job(struct aq_text *jobs, struct aq_text *running, const char *root, const char *name) {
    struct aq_job look;
    aq_job_look(root, name, &look);
    if (look.state == AQ_JOB_MISSING) return;
    aq_text_printf(jobs, "%s{", jobs->length ? "," : "");
    aq_json_kv_string(jobs, "attempt", name);
    aq_json_kv_string(jobs, "state", aq_job_state_name(look.state));
    aq_json_kv_int(jobs, "journal_bytes", (int64_t)look.journal_size);
    aq_text_printf(jobs, "}");
    if (look.state == AQ_JOB_RUNNING && !running->length) aq_json_string(running, name);
}

int aq_cmd_status(const struct aq_args *args) {
    struct aq_error err;
    const char *root = aq_arg(args, "root"), *job = aq_arg(args, "job");
    char path[4096], boot[64];
    if (job && !need_job(args, &err)) return aq_report(&err, AQ_USAGE);
    struct aq_owner owner;
    if (!aq_owner_read(root, &owner, &err)) return aq_report(&err, AQ_FAILED);
    struct aq_text jobs = {0}, running = {0}, ignored = {0}, line = {0};
    DIR *dir = aq_path(path, sizeof path, "%s/jobs", root) ? opendir(path) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!aq_is_name(entry->d_name)) continue;
        add_job(job && strcmp(job, entry->d_name) != 0 ? &ignored : &jobs, &running, root, entry->d_name);
    }
    if (dir) closedir(dir);
    aq_boot_id(NULL, boot);
    aq_text_printf(&line, "{\"owner\":");
    if (owner.present) {
        aq_text_printf(&line, "{");
        aq_json_kv_string(&line, "cluster", owner.cluster);
        aq_json_kv_int(&line, "epoch", (int64_t)owner.epoch);
        aq_text_printf(&line, "}");
    } else {
        aq_text_printf(&line, "null");
    }
    aq_text_printf(&line, ",\"running\":%s", running.length ? running.data : "null");
    aq_json_kv_string(&line, "boot_id", boot);
    aq_text_printf(&line, ",\"jobs\":[%s]}", jobs.length ? jobs.data : "");
    if (jobs.failed || running.failed) line.failed = true;
    aq_text_free(&jobs);
    aq_text_free(&running);
    aq_text_free(&ignored);
    return aq_print(&line);
}
