#include "loader.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "errors.h"
#include "imports.h"
#include "object.h"

/* ---- memory ------------------------------------------------------------------------------------- */

/* Whether an array of the file lies in one segment that is read; its size may be past all numbers. */
static int array_lies_in(const Library *library, uint64_t at, uint64_t count, uint64_t item) {
    uint64_t bytes;
    return !__builtin_mul_overflow(count, item, &bytes) && lies_in(library, at, bytes, 1, PF_R);
}

/* A part of it that was seen to lie there. */
static void read_at(const Library *library, uint64_t at, void *to, size_t bytes) {
    memcpy(to, library->base + at, bytes);
}

static uint32_t word_at(const Library *library, uint64_t at) {
    uint32_t word;
    read_at(library, at, &word, sizeof word);
    return word;
}

/* ---- the dynamic section ------------------------------------------------------------------------ */

typedef struct { uint64_t relocations_bytes, calls_bytes, needed[8]; int needs; } Dynamic;

static int read_entry(Library *library, Dynamic *dynamic, const Elf64_Dyn *entry) {
    uint64_t value = entry->d_un.d_val;
    switch (entry->d_tag) {
    case DT_STRTAB: library->names = value; return 0;
    case DT_STRSZ: library->names_bytes = value; return 0;
    case DT_SYMTAB: library->symbols = value; return 0;
    case DT_GNU_HASH: library->hash = value; return 0;
    case DT_RELA: library->relocations.at = value; return 0;
    case DT_RELASZ: dynamic->relocations_bytes = value; return 0;
    case DT_JMPREL: library->calls.at = value; return 0;
    case DT_PLTRELSZ: dynamic->calls_bytes = value; return 0;
    case DT_INIT_ARRAYSZ: library->init_bytes = value; return 0;
    case DT_NEEDED:
        if (dynamic->needs == sizeof dynamic->needed / sizeof *dynamic->needed)
            return refuse(library, "it needs too many other libraries");
        dynamic->needed[dynamic->needs++] = value;
        return 0;
    case DT_SYMENT:
        return value == sizeof(Elf64_Sym) ? 0 : refuse(library, "its symbols have a size of their own");
    case DT_RELAENT:
        return value == sizeof(Elf64_Rela) ? 0 : refuse(library, "its relocations have a size of their own");
    case DT_PLTREL: return value == DT_RELA ? 0 : refuse(library, "its relocations are not of the kind RELA");
    case DT_FLAGS:
        return value & (DF_TEXTREL | DF_STATIC_TLS) ? refuse(library, "it has relocations in code") : 0;
    /* What is called as it is loaded and unloaded is gcc's, and does nothing without a profiler or
     * transactional memory. `init_bytes` tells of more. */
    case DT_INIT: case DT_FINI: case DT_INIT_ARRAY: case DT_FINI_ARRAY: case DT_FINI_ARRAYSZ:
    case DT_HASH:
    case DT_PLTGOT:
    case DT_RELACOUNT:
    case DT_SONAME:
    case DT_RPATH:
    case DT_RUNPATH:
    case DT_DEBUG:
    case DT_BIND_NOW: case DT_SYMBOLIC: case DT_FLAGS_1: case DT_VERSYM: case DT_VERNEED: case DT_VERNEEDNUM:
    case DT_VERDEF: case DT_VERDEFNUM: return 0;
    default: return refuse(library, "it has a dynamic entry %#llx, which is not supported",
                           (unsigned long long)entry->d_tag);
    }
}

/* A name of it, or NULL where that lies outside of its names. */
static const char *name_at(const Library *library, uint64_t offset) {
    if (offset >= library->names_bytes) return NULL;
    const char *name = (const char *)library->base + library->names + offset;
    return memchr(name, 0, library->names_bytes - offset) ? name : NULL;
}

static int check_needed(const Library *library, const Dynamic *dynamic) {
    static const char *const there[] = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"};
    for (int i = 0; i < dynamic->needs; i++) {
        const char *name = name_at(library, dynamic->needed[i]);
        size_t at = 0, count = sizeof there / sizeof *there;
        while (name && at < count && strcmp(name, there[at])) at++;
        if (!name || at == count) return refuse(library, "it needs the library '%.60s'", name ? name : "");
    }
    return 0;
}

static int read_dynamic(Library *library) {
    Dynamic dynamic = {0};
    if (!lies_in(library, library->dynamic, library->dynamic_bytes, 1, PF_R))
        return refuse(library, "its dynamic section lies outside of its segments");
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= library->dynamic_bytes; at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        read_at(library, library->dynamic + at, &entry, sizeof entry);
        if (entry.d_tag == DT_NULL) break;
        if (read_entry(library, &dynamic, &entry)) return -1;
    }
    library->relocations.count = dynamic.relocations_bytes / sizeof(Elf64_Rela);
    library->calls.count = dynamic.calls_bytes / sizeof(Elf64_Rela);
    if (!library->names || !library->symbols || !library->hash)
        return refuse(library, "it has no table of symbols, names, or hashes (gcc -Wl,--hash-style=gnu)");
    if (!array_lies_in(library, library->names, library->names_bytes, 1) ||
        !array_lies_in(library, library->relocations.at, library->relocations.count, sizeof(Elf64_Rela)) ||
        !array_lies_in(library, library->calls.at, library->calls.count, sizeof(Elf64_Rela)))
        return refuse(library, "its tables lie outside of its segments");
    if (library->init_bytes > 8) return refuse(library, "it has constructors of its own");
    return check_needed(library, &dynamic);
}

/* ---- symbols ------------------------------------------------------------------------------------ */

/* GNU's table of hashes: four numbers, a filter, for each bucket the number of its first symbol or 0, and for
 * each symbol from `first` on its hash, whose last bit ends the bucket. Symbols are as many as it takes. */
static int read_hash(Library *library) {
    if (!lies_in(library, library->hash, 16, 1, PF_R))
        return refuse(library, "its table of hashes lies outside");
    library->buckets = word_at(library, library->hash);
    library->first = word_at(library, library->hash + 4);
    library->bucket = library->hash + 16 + 8 * (uint64_t)word_at(library, library->hash + 8);
    library->chain = library->bucket + 4 * (uint64_t)library->buckets;
    if (!library->buckets || !array_lies_in(library, library->bucket, library->buckets, 4))
        return refuse(library, "its table of hashes lies outside");
    uint64_t last = 0;
    for (uint32_t i = 0; i < library->buckets; i++) {
        uint32_t symbol = word_at(library, library->bucket + 4 * (uint64_t)i);
        if (symbol > last) last = symbol;
    }
    library->symbol_count = library->first;
    if (last >= library->first && last)
        for (uint64_t at = last;; at++) {
            uint64_t place = library->chain + 4 * (at - library->first);
            if (!lies_in(library, place, 4, 1, PF_R))
                return refuse(library, "its table of hashes has no end");
            if (word_at(library, place) & 1) {
                library->symbol_count = at + 1;
                break;
            }
        }
    if (!array_lies_in(library, library->symbols, library->symbol_count, sizeof(Elf64_Sym)) ||
        !array_lies_in(library, library->chain, library->symbol_count - library->first, 4))
        return refuse(library, "its symbols lie outside of its segments");
    return 0;
}

static uint32_t hash_of(const char *name) {
    uint32_t hash = 5381;
    for (const unsigned char *at = (const unsigned char *)name; *at; at++) hash = hash * 33 + *at;
    return hash;
}

/* A symbol that it defines; 0 where it has none of that name. */
static int find(const Library *library, const char *name, Elf64_Sym *symbol) {
    uint32_t hash = hash_of(name);
    uint64_t at = word_at(library, library->bucket + 4 * (uint64_t)(hash % library->buckets));
    if (at < library->first) return 0;
    for (; at < library->symbol_count; at++) {
        uint32_t other = word_at(library, library->chain + 4 * (at - library->first));
        if ((other | 1) == (hash | 1)) {
            read_at(library, library->symbols + at * sizeof *symbol, symbol, sizeof *symbol);
            const char *found = name_at(library, symbol->st_name);
            if (symbol->st_shndx != SHN_UNDEF && found && !strcmp(found, name)) return 1;
        }
        if (other & 1) return 0;
    }
    return 0;
}

/* ---- relocations -------------------------------------------------------------------------------- */

/* What a symbol stands for: an address of its own, one of the runtime's, or 0. */
static int resolve(const Library *library, uint64_t number, uint64_t *address) {
    Elf64_Sym symbol;
    if (number >= library->symbol_count) {
        /* Those that are imported alone are not in the table of hashes where nothing else is. */
        if (!array_lies_in(library, library->symbols, number + 1, sizeof symbol))
            return refuse(library, "a relocation names a symbol that it has not");
    }
    read_at(library, library->symbols + number * sizeof symbol, &symbol, sizeof symbol);
    const char *name = name_at(library, symbol.st_name);
    if (!name) return refuse(library, "a symbol's name lies outside of its names");
    if (symbol.st_shndx != SHN_UNDEF) {
        int type = ELF64_ST_TYPE(symbol.st_info);
        if (type == STT_GNU_IFUNC || type == STT_TLS || symbol.st_value > library->size)
            return refuse(library, "the symbol '%.60s' is of a kind that is not supported", name);
        *address = (uint64_t)(uintptr_t)library->base + symbol.st_value;
        return 0;
    }
    *address = (uint64_t)(uintptr_t)import_named(name);
    if (!*address && ELF64_ST_BIND(symbol.st_info) != STB_WEAK)
        return refuse(library, "it calls '%.60s', which the runtime does not have", name);
    return 0;
}

static int relocate(const Library *library, uint64_t at) {
    Elf64_Rela relocation;
    uint64_t value = 0;
    read_at(library, at, &relocation, sizeof relocation);
    uint32_t type = ELF64_R_TYPE(relocation.r_info);
    if (type == R_X86_64_NONE) return 0;
    if (!lies_in(library, relocation.r_offset, 8, 0, PF_W))
        return refuse(library, "a relocation lies outside of what is written");
    switch (type) {
    case R_X86_64_RELATIVE: value = (uint64_t)(uintptr_t)library->base + (uint64_t)relocation.r_addend; break;
    case R_X86_64_64:
    case R_X86_64_GLOB_DAT:
    case R_X86_64_JUMP_SLOT:
        if (resolve(library, ELF64_R_SYM(relocation.r_info), &value)) return -1;
        if (type == R_X86_64_64) value += (uint64_t)relocation.r_addend;
        break;
    default: return refuse(library, "a relocation is of kind %u, which is not supported", type);
    }
    memcpy(library->base + relocation.r_offset, &value, sizeof value);
    return 0;
}

static int relocate_all(const Library *library, Table table) {
    for (uint64_t i = 0; i < table.count; i++)
        if (relocate(library, table.at + i * sizeof(Elf64_Rela))) return -1;
    return 0;
}

/* ---- hooks -------------------------------------------------------------------------------------- */

/* Points the variables that stand for functions of TVM's, `__TVM...`, at those of the runtime. */
static int fill_hooks(const Library *library) {
    for (uint64_t i = library->first; i < library->symbol_count; i++) {
        Elf64_Sym symbol;
        read_at(library, library->symbols + i * sizeof symbol, &symbol, sizeof symbol);
        const char *name = name_at(library, symbol.st_name);
        if (!name || strncmp(name, "__TVM", 5) || ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT) continue;
        void *function = hook_named(name);
        if (!function) return refuse(library, "it calls '%.60s', which the runtime does not have", name + 2);
        if (symbol.st_shndx == SHN_UNDEF || !lies_in(library, symbol.st_value, 8, 0, PF_W))
            return refuse(library, "'%.60s' lies outside of what is written", name);
        memcpy(library->base + symbol.st_value, &function, sizeof function);
    }
    return 0;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

static int load(Library *library, const unsigned char *bytes, size_t size) {
    return object_map(library, bytes, size) || read_dynamic(library) || read_hash(library) ||
           relocate_all(library, library->relocations) || relocate_all(library, library->calls) ||
           fill_hooks(library) || object_protect(library);
}

Library *library_load(const unsigned char *bytes, size_t size, const char *what) {
    Library *library = calloc(1, sizeof *library);
    if (!library) {
        fail_memory(sizeof *library, what);
        return NULL;
    }
    library->what = what;
    if (!load(library, bytes, size)) return library;
    library_free(library);
    return NULL;
}

void *library_function(const Library *library, const char *name) {
    Elf64_Sym symbol;
    if (!find(library, name, &symbol) || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) return NULL;
    return lies_in(library, symbol.st_value, 1, 1, PF_X) ? library->base + symbol.st_value : NULL;
}

void library_free(Library *library) {
    if (!library) return;
    if (library->base) munmap(library->base, library->size);
    free(library);
}
