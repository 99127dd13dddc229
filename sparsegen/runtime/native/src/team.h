/* Teams of threads: work that all threads of the calling one's team do together. */
#ifndef SPARSEGEN_TEAM_H
#define SPARSEGEN_TEAM_H

/* Work for each of `count` threads; `index` tells them apart. */
typedef void (*Work)(void *data, int index, int count);

/* Threads of a team that run the calls of one group: the first of them leads, the others wait for work. */
typedef struct {
    int size;
    Work work; /* NULL: the group has ended */
    void *data;
    int orders, done; /* how often there was work, and how many of the others have done the last of it */
} __attribute__((aligned(64))) Squad;

#define SPINS 20000 /* some 1 ms: then another thread may need the core more than we do */

/* Both of the calling thread, so that models with different thread counts may run side by side. */
extern __thread int team;
extern __thread Squad *squad;

int wait_while(const int *number, int value);
void order(Squad *led, Work work, void *data);
void follow(Squad *led, int index, int orders);
void together(Work work, void *data);

#endif
