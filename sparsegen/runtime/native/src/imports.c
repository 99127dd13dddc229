#include "imports.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "launch.h"
#include "workspace.h"

typedef struct {
    const char *name;
    void *address;
} Named;

/* A failure of generated code's: it ends the run, which tells whose it was. Its own words are not kept. */
static void failed(const char *kind, const char **parts, int32_t count) {
    (void)kind, (void)parts, (void)count;
}

#define F(name) {#name, (void *)name}
#define BOTH(name) F(name), F(name##f)

/* Of libc and libm: what LLVM makes calls of where it has no instruction, or a long copy. */
static const Named imports[] = {
    F(memcpy),
    F(memmove),
    F(memset),
    F(memcmp),
    BOTH(exp),
    BOTH(exp2),
    BOTH(expm1),
    BOTH(log),
    BOTH(log2),
    BOTH(log10),
    BOTH(log1p),
    BOTH(pow),
    BOTH(sqrt),
    BOTH(cbrt),
    BOTH(hypot),
    BOTH(sin),
    BOTH(cos),
    BOTH(tan),
    BOTH(asin),
    BOTH(acos),
    BOTH(atan),
    BOTH(atan2),
    BOTH(sinh),
    BOTH(cosh),
    BOTH(tanh),
    BOTH(asinh),
    BOTH(acosh),
    BOTH(atanh),
    BOTH(erf),
    BOTH(erfc),
    BOTH(floor),
    BOTH(ceil),
    BOTH(trunc),
    BOTH(round),
    BOTH(rint),
    BOTH(nearbyint),
    BOTH(fabs),
    BOTH(fmod),
    BOTH(fmin),
    BOTH(fmax),
    BOTH(fma),
    BOTH(ldexp),
    BOTH(copysign),
    BOTH(nextafter),
    {"TVMFFIErrorSetRaisedFromCStr", (void *)failed},
    {"TVMFFIErrorSetRaisedFromCStrParts", (void *)failed},
};

/* Variables of generated code: pointers to functions of TVM's, for which ours stand in. */
static const Named hooks[] = {
    {"__TVMBackendParallelLaunch", (void *)sparsegen_parallel_launch},
    {"__TVMBackendAllocWorkspace", (void *)workspace_take},
    {"__TVMBackendFreeWorkspace", (void *)workspace_give_back},
    {"__TVMFFIErrorSetRaisedFromCStr", (void *)failed},
    {"__TVMFFIErrorSetRaisedFromCStrParts", (void *)failed},
};

static void *find(const Named *named, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(named[i].name, name)) return named[i].address;
    return NULL;
}

void *import_named(const char *name) { return find(imports, sizeof imports / sizeof *imports, name); }

void *hook_named(const char *name) { return find(hooks, sizeof hooks / sizeof *hooks, name); }
