/* What generated code may call of others. */
#ifndef SPARSEGEN_IMPORTS_H
#define SPARSEGEN_IMPORTS_H

/* A function that generated code imports, or what a hook of its points to; NULL where there is none. */
void *import_named(const char *name);
void *hook_named(const char *name);

#endif
