/* Teams of threads of our own under strain: exits with the number of the line that found something wrong.
 *
 *     team threads | fork | refused | close LIBRARY */
#define _GNU_SOURCE
#include "team.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stages.h"

#define WANTED(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: " #condition "\n", __LINE__); \
            _exit(1); \
        } \
    } while (0)

void sparsegen_set_threads(int threads);

/* ---- threads, refused where a test wants that ----------------------------------------------------- */

static int granted = 1000;

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*body)(void *), void *data) {
    if (__atomic_sub_fetch(&granted, 1, __ATOMIC_RELAXED) < 0) return EAGAIN;
    return __real_pthread_create(thread, how, body, data);
}

#ifdef __SANITIZE_THREAD__
#define SANITIZERS 1 /* threads that a sanitizer starts with the first of ours */
#else
#define SANITIZERS 0
#endif

/* Threads of this process. */
static int tasks(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    while (readdir(folder)) count++;
    closedir(folder);
    return count - 2;
}

/* ---- loops ---------------------------------------------------------------------------------------- */

#define MOST 8

typedef struct {
    int count, calls[MOST]; /* plain numbers: one that two threads write at once is a race */
    int nested;
} Seen;

static void nested_work(void *data, int index, int count) {
    WANTED(index == 0 && count == 1);
    *(int *)data += 1;
}

static void loop_work(void *data, int index, int count) {
    Seen *seen = data;
    WANTED(0 <= index && index < count && count <= MOST);
    seen->calls[index]++;
    if (index == 0) seen->count = count;
    if (index == count - 1) together(nested_work, &seen->nested);
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    WANTED(sigismember(&blocked, SIGUSR1) == (index > 0) && !sigismember(&blocked, SIGSEGV));
}

static void loop(int threads, int expected) {
    Seen seen = {0};
    sparsegen_set_threads(threads);
    together(loop_work, &seen);
    WANTED(seen.count == expected && seen.nested == 1 && team == threads);
    for (int i = 0; i < MOST; i++) WANTED(seen.calls[i] == (i < expected));
}

/* ---- stages --------------------------------------------------------------------------------------- */

/* 8 calls of a loop over all threads of their group; call 5 begins after call 4, of the group beside its. */
#define CALLS 8

typedef struct { int number, expected, *clock, ended; } Argument;

static void stage_work(void *data, int index, int count) {
    Argument *argument = data;
    WANTED(count == argument->expected);
    if (index == 0) argument->ended = __atomic_add_fetch(argument->clock, 1, __ATOMIC_RELAXED);
}

static int call(void *self, const void *arguments, int32_t count, void *result) {
    (void)self, (void)count, (void)result;
    together(stage_work, (void *)arguments);
    return 0;
}

/* On two threads: both in each of 4 calls; two groups of one, of two calls each. Alone if there is one. */
static void stages(int alone) {
    static const int32_t numbers[CALLS] = {0, 1, 2, 3, 4, 6, 5, 7}, after[] = {4};
    const Group groups[] = {{numbers, 4, 2}, {numbers + 4, 2, 1}, {numbers + 6, 2, 1}};
    const int64_t counts[] = {1, 2};
    int clock = 0;
    Argument arguments[CALLS];
    Call calls[CALLS];
    for (int i = 0; i < CALLS; i++) {
        arguments[i] = (Argument){i, i < 4 && !alone ? 2 : 1, &clock, 0};
        calls[i] = (Call){call, &arguments[i], 1, NULL, after, i == 5, i == 4};
    }
    WANTED(sparsegen_run_stages(calls, CALLS, groups, counts, 2, 2, NULL) == -1);
    WANTED(clock == CALLS && arguments[4].ended < arguments[5].ended);
    for (int i = 0; i < 4; i++) WANTED(arguments[i].ended == i + 1);
}

/* ---- what is tested ------------------------------------------------------------------------------- */

/* One thread of an application: teams of many sizes, at once and after pauses in which workers sleep. */
static void *application(void *pointer) {
    int seed = *(int *)pointer;
    for (int round = 0; round < 300; round++) {
        int threads = 1 + (round * 7 + seed) % 4;
        loop(threads, threads);
        if (round % 10 == seed) usleep(500);
        if (round % 50 == 0) stages(0);
    }
    return NULL;
}

static void applications(void) {
    pthread_t threads[4];
    int seeds[4] = {0, 1, 2, 3}, before = tasks();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, application, &seeds[i]);
        for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        for (int ms = 0; tasks() > before + SANITIZERS && ms < 1000; ms++)
            usleep(1000); /* the kernel is late */
        WANTED(tasks() <= before + SANITIZERS);
    }
    before = tasks();
    for (int threads = MOST; threads; threads--) loop(threads, threads);
    WANTED(tasks() == before + MOST - 1);
}

static void in_fork(int generations) {
    loop(3, 3);
    stages(0);
    pid_t child = fork();
    if (child == 0) {
        WANTED(tasks() == 1);
        if (generations) in_fork(generations - 1); else loop(3, 3);
        WANTED(tasks() == 3);
        exit(0);
    }
    int status;
    WANTED(waitpid(child, &status, 0) == child && status == 0);
    loop(3, 3);
}

static void *forking_thread(void *nothing) {
    in_fork(2);
    return nothing;
}

static void forks(void) {
    pthread_t thread;
    in_fork(2);
    pthread_create(&thread, NULL, forking_thread, NULL);
    pthread_join(thread, NULL);
}

static void refused(void) {
    granted = 0;
    stages(1);
    loop(4, 1);
    granted = 1;
    loop(4, 2);
    stages(0);
    granted = 1000;
    loop(4, 4);
}

typedef struct {
    void (*set_threads)(int);
    int (*launch)(int (*)(int, void *, void *), void *, int);
} Library;

static int task(int number, void *environment, void *data) {
    (void)environment;
    ((int *)data)[number]++;
    return 0;
}

/* A thread whose workers still sleep when the library is closed, and end after that. */
static void *closing(void *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    WANTED(library);
    Library open;
    *(void **)&open.set_threads = dlsym(library, "sparsegen_set_threads");
    *(void **)&open.launch = dlsym(library, "sparsegen_parallel_launch");
    int done[4] = {0};
    open.set_threads(4);
    WANTED(open.launch(task, done, 0) == 0);
    for (int i = 0; i < 4; i++) WANTED(done[i] == 1);
    WANTED(dlclose(library) == 0);
    usleep(2000);
    return NULL;
}

int main(int count, char **arguments) {
    alarm(120);
    if (count == 2 && !strcmp(arguments[1], "threads")) applications();
    else if (count == 2 && !strcmp(arguments[1], "fork")) forks();
    else if (count == 2 && !strcmp(arguments[1], "refused")) refused();
    else if (count == 3 && !strcmp(arguments[1], "close")) {
        pthread_t thread;
        for (int i = 0; i < 3; i++) {
            pthread_create(&thread, NULL, closing, arguments[2]);
            pthread_join(thread, NULL);
        }
        closing(arguments[2]);
    } else return 2;
    puts("done");
    return 0;
}
