/* Shifts or stops the clock of a real server: preloaded into it, it adds a number of seconds, read from the file that
 * FIRSTCOME_TEST_CLOCK names, to every answer about the time of day; where the second number in the file is not 0, that
 * many milliseconds since 1970 are the answer. Monotonic clocks are left alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct shown { long offset_seconds, stopped_at_ms; };
static volatile const struct shown *shown;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("FIRSTCOME_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(struct shown), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) shown = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed || !shown || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    long stopped_at_ms = shown->stopped_at_ms;
    now->tv_sec += shown->offset_seconds;
    if (stopped_at_ms) {
        now->tv_sec = stopped_at_ms / 1000;
        now->tv_nsec = stopped_at_ms % 1000 * 1000000;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return (time_t)-1;
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
