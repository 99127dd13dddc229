/* What TVM's RPC server lacks: uploaded to one, and loaded in the process that serves a session.
 *
 * A crash there leaves with exit status 0: at any other, TVM's server gives up serving for good.
 * The functions follow TVM FFI's calling convention: `__tvm_ffi_NAME` is NAME. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tvm/ffi/c_api.h>
#include <unistd.h>

static void leave(int signal) {
    (void)signal;
    _exit(0);
}

__attribute__((constructor)) static void catch_crashes(void) {
    const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; ++i) signal(crashes[i], leave);
}

static int give(TVMFFIAny *result, int64_t value) {
    result->type_index = kTVMFFIInt;
    result->zero_padding = 0;
    result->v_int64 = value;
    return 0;
}

/* What /proc/cpuinfo says of the first processor; nothing where it cannot be read. */
int __tvm_ffi_cpuinfo(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    char text[1 << 14];
    FILE *file = fopen("/proc/cpuinfo", "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[length] = 0;
    char *end = strstr(text, "\n\n");
    TVMFFIByteArray first = {text, end ? (size_t)(end - text) : length};
    return TVMFFIStringFromByteArray(&first, result);
}

/* The cores that the server may run on. */
int __tvm_ffi_cores(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    cpu_set_t cores;
    return give(result, sched_getaffinity(0, sizeof cores, &cores) ? 0 : CPU_COUNT(&cores));
}

/* Bytes of a core's data cache of level 1, 2 or 3, the argument; 0 where it is not known. */
int __tvm_ffi_cache_bytes(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    int level = (int)arguments[0].v_int64;
    long bytes = 0;
    if (level < 3) {
        bytes = sysconf(level == 1 ? _SC_LEVEL1_DCACHE_SIZE : _SC_LEVEL2_CACHE_SIZE);
    } else { /* sysconf tells the sum of all that an AMD processor has */
        FILE *size = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
        if (size && fscanf(size, "%ldK", &bytes) == 1) bytes *= 1024;
        if (size) fclose(size);
    }
    return give(result, bytes > 0 ? bytes : 0);
}

/* Let TVM's pool, which is not made yet, have as many threads as the argument says: by itself it takes
 * half the cores at most, as if each ran two threads, and what OMP_NUM_THREADS says where that is set. */
int __tvm_ffi_allow_threads(void *self, const TVMFFIAny *arguments, int32_t count, TVMFFIAny *result) {
    char threads[16];
    snprintf(threads, sizeof threads, "%d", (int)arguments[0].v_int64);
    setenv("TVM_NUM_THREADS", threads, 1);
    return give(result, 0);
}
