/* What the CPU and the system let programs use. */
#ifndef SPARSEGEN_CPU_H
#define SPARSEGEN_CPU_H

/* Whether this machine has a feature, by the name that Linux has for it in /proc/cpuinfo, or LLVM where Linux
 * shows none. 0 for a name that this version does not know. */
int cpu_has(const char *feature);

#endif
