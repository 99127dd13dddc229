#include "cpu.h"

#include <cpuid.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { EAX, EBX, ECX, EDX };

/* Parts of registers that the system has to save when it switches threads: bits of XCR0. */
enum { NOTHING = 0, YMM = 0x06, ZMM = 0xe6, APX = 0x80000 };

/* Where CPUID tells of a feature, and the state that its registers are. */
typedef struct {
    const char *name;
    uint32_t leaf, subleaf;
    uint8_t in, bit;
    uint32_t state;
} Feature;

#define EXTENDED 0x80000001u
#define AVX10 (1u << 19) /* of leaf 7.1, EDX */

static const Feature features[] = {
    {"cx8", 1, 0, EDX, 8, NOTHING},
    {"cmov", 1, 0, EDX, 15, NOTHING},
    {"mmx", 1, 0, EDX, 23, NOTHING},
    {"sse", 1, 0, EDX, 25, NOTHING},
    {"sse2", 1, 0, EDX, 26, NOTHING},
    {"pni", 1, 0, ECX, 0, NOTHING},
    {"ssse3", 1, 0, ECX, 9, NOTHING},
    {"fma", 1, 0, ECX, 12, YMM},
    {"cx16", 1, 0, ECX, 13, NOTHING},
    {"sse4_1", 1, 0, ECX, 19, NOTHING},
    {"sse4_2", 1, 0, ECX, 20, NOTHING},
    {"movbe", 1, 0, ECX, 22, NOTHING},
    {"popcnt", 1, 0, ECX, 23, NOTHING},
    {"avx", 1, 0, ECX, 28, YMM},
    {"f16c", 1, 0, ECX, 29, YMM},
    {"bmi1", 7, 0, EBX, 3, NOTHING},
    {"avx2", 7, 0, EBX, 5, YMM},
    {"bmi2", 7, 0, EBX, 8, NOTHING},
    {"avx512f", 7, 0, EBX, 16, ZMM},
    {"avx512dq", 7, 0, EBX, 17, ZMM},
    {"avx512ifma", 7, 0, EBX, 21, ZMM},
    {"avx512cd", 7, 0, EBX, 28, ZMM},
    {"avx512bw", 7, 0, EBX, 30, ZMM},
    {"avx512vl", 7, 0, EBX, 31, ZMM},
    {"avx512vbmi", 7, 0, ECX, 1, ZMM},
    {"avx512_vbmi2", 7, 0, ECX, 6, ZMM},
    {"gfni", 7, 0, ECX, 8, NOTHING},
    {"avx512_vnni", 7, 0, ECX, 11, ZMM},
    {"avx512_bitalg", 7, 0, ECX, 12, ZMM},
    {"avx512_vpopcntdq", 7, 0, ECX, 14, ZMM},
    {"avx512_vp2intersect", 7, 0, EDX, 8, ZMM},
    {"avx512_fp16", 7, 0, EDX, 23, ZMM},
    {"avx_vnni", 7, 1, EAX, 4, YMM},
    {"avx512_bf16", 7, 1, EAX, 5, ZMM},
    {"cmpccxadd", 7, 1, EAX, 7, NOTHING},
    {"avxifma", 7, 1, EAX, 23, YMM},
    {"avxvnniint8", 7, 1, EDX, 4, YMM},
    {"avxneconvert", 7, 1, EDX, 5, YMM},
    {"avxvnniint16", 7, 1, EDX, 10, YMM},
    {"apx", 7, 1, EDX, 21, APX},
    {"lahf_lm", EXTENDED, 0, ECX, 0, NOTHING},
    {"abm", EXTENDED, 0, ECX, 5, NOTHING},
    {"sse4a", EXTENDED, 0, ECX, 6, NOTHING},
    {"3dnowprefetch", EXTENDED, 0, ECX, 8, NOTHING},
    {"xop", EXTENDED, 0, ECX, 11, YMM},
    {"fma4", EXTENDED, 0, ECX, 16, YMM},
    {"tbm", EXTENDED, 0, ECX, 21, NOTHING},
};

/* A leaf's registers; 0 where the CPU has no such leaf. */
static int leaf(uint32_t number, uint32_t subleaf, uint32_t registers[4]) {
    uint32_t *r = registers;
    if (subleaf) { /* which there are tells the first one, in EAX */
        if (!__get_cpuid_count(number, 0, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || r[EAX] < subleaf) return 0;
    }
    return __get_cpuid_count(number, subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
}

/* The state that the system saves: XCR0, where it lets programs ask. */
static uint32_t saved_state(void) {
    uint32_t r[4], low, high;
    if (!leaf(1, 0, r) || !(r[ECX] >> 27 & 1)) return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}

static int system_saves(uint32_t state) { return (saved_state() & state) == state; }

/* AVX10 has a version instead of a bit. */
static int has_avx10(uint32_t version) {
    uint32_t r[4];
    if (!leaf(7, 1, r) || !(r[EDX] & AVX10) || !leaf(0x24, 0, r)) return 0;
    return (r[EBX] & 0xff) >= version && system_saves(ZMM);
}

int cpu_has(const char *feature) {
    if (!strcmp(feature, "avx10.1")) return has_avx10(1);
    if (!strcmp(feature, "avx10.2")) return has_avx10(2);
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        const Feature *f = &features[i];
        uint32_t registers[4];
        if (strcmp(f->name, feature)) continue;
        return leaf(f->leaf, f->subleaf, registers) && registers[f->in] >> f->bit & 1 &&
               system_saves(f->state);
    }
    return 0;
}
