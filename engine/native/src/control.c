#include "control.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 100 };

static void stop_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

void aq_control_block_signals(void) {
    sigset_t set;
    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void *look(void *argument) {
    struct aq_control *c = argument;
    sigset_t set;
    stop_signals(&set);
    uint64_t next = 0;
    while (!atomic_load(&c->ending)) {
        uint64_t now = aq_now_ns();
        if (now >= next) {
            struct aq_text fields = {0};
            aq_telemetry_read(&c->telemetry, &fields);
            aq_journal_event(c->journal, "telemetry", &fields, false);
            aq_text_free(&fields);
            next = now + (uint64_t)c->telemetry_ms * 1000000;
        }
        now = aq_now_ns();
        uint64_t left = next > now ? next - now : 1000000;
        if (left > LOOK_MS * 1000000ull) left = LOOK_MS * 1000000ull;
        struct timespec wait = {0, (long)left};
        int got = sigtimedwait(&set, NULL, &wait);
        if (got == SIGTERM || got == SIGINT || access(c->stop_file, F_OK) == 0) atomic_store(&c->stop, true);
    }
    return NULL;
}

bool aq_control_start(struct aq_control *c, struct aq_journal *journal, const char *folder, unsigned telemetry_ms,
                      struct aq_error *err) {
    c->journal = journal;
    c->telemetry_ms = telemetry_ms;
    if (!aq_path(c->stop_file, sizeof c->stop_file, "%s/stop", folder))
        return aq_fail(err, "root", "root path is too long");
    if (access(c->stop_file, F_OK) == 0) atomic_store(&c->stop, true);
    aq_telemetry_init(&c->telemetry, NULL, NULL);
    c->started = pthread_create(&c->thread, NULL, look, c) == 0;
    return c->started || aq_fail(err, "threads", "cannot start the telemetry thread");
}

void aq_control_end(struct aq_control *c) {
    if (!c->started) return;
    atomic_store(&c->ending, true);
    pthread_join(c->thread, NULL);
    c->started = false;
}
