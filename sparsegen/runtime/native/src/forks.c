#include "forks.h"

#include <stddef.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* taken before a model's own */
static sparsegen_model *first;                           /* of those that are open */

/* What another thread has half done, it would never finish in the child. */
static void before_fork(void) {
    pthread_mutex_lock(&lock);
    for (sparsegen_model *model = first; model; model = model->next) pthread_mutex_lock(&model->lock);
}

/* In the parent, and in the child. */
static void after_fork(void) {
    for (sparsegen_model *model = first; model; model = model->next) pthread_mutex_unlock(&model->lock);
    pthread_mutex_unlock(&lock);
}

static void prepare(void) { pthread_atfork(before_fork, after_fork, after_fork); }

void forks_enter(sparsegen_model *model) {
    static pthread_once_t prepared = PTHREAD_ONCE_INIT;
    pthread_once(&prepared, prepare);
    pthread_mutex_lock(&lock);
    model->next = first;
    first = model;
    pthread_mutex_unlock(&lock);
}

void forks_leave(sparsegen_model *model) {
    pthread_mutex_lock(&lock);
    sparsegen_model **at = &first;
    while (*at && *at != model) at = &(*at)->next;
    if (*at) *at = model->next;
    pthread_mutex_unlock(&lock);
}
