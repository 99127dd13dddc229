/* Runs models that sparsegen compiled: `compiled.save("model.sparsegen")` writes the file that is read here.
 *
 * A model runs in the same way, and gives the same bits, as in Python, and needs no Python, no compiler and
 * no other library than libc, libm and pthread. Link with `pkg-config --cflags --libs sparsegen`.
 *
 *     #include <sparsegen.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         static float image[1 * 3 * 224 * 224], scores[1 * 1000];
 *         const void *inputs[] = {image};
 *         void *outputs[] = {scores};
 *         sparsegen_model *model = sparsegen_open("resnet18.sparsegen", NULL);
 *         sparsegen_context *context = model ? sparsegen_context_new(model, 0) : NULL;
 *         if (!context || sparsegen_run(context, inputs, outputs)) {
 *             fprintf(stderr, "%s\n", sparsegen_last_error());
 *             return 1;
 *         }
 *         sparsegen_context_free(context);
 *         sparsegen_close(model);
 *         return 0;
 *     }
 *
 * A file has *variants* of its model: for other CPUs, numbers of threads, and shapes of inputs. Those that
 * run on this machine are numbered from 0 on, the best for it first; of variants for the same shapes take the
 * first.
 *
 * **A file holds machine code, which runs with all rights of the process: open only files that you trust.**
 * Damage is found, by checksums and by checks of every number; malice is not.
 *
 * Errors: a function that fails says so by what it returns, and sparsegen_last_error tells what is wrong and
 * what to do. A handle of NULL is such a failure: a program may go on with what sparsegen_open returned and
 * look once, at the end, and the message still tells why there is no model. A handle that was closed or freed
 * must not be used. Nothing is written to the standard streams, no signal is caught, and the process is never
 * ended.
 *
 * Threads: a model may be used by any number of threads at once; a context by one at a time. Each thread that
 * calls sparsegen_run has a team of threads of its own, which sleep while there is nothing to do.
 * After fork() a child has its parent's models, and shares the memory of their weights with it: open a model
 * and make a context, then fork. Of contexts it may use those that no thread was running, as its own copies.
 */
#ifndef SPARSEGEN_H
#define SPARSEGEN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SPARSEGEN_VERSION "0.1.0"
#define SPARSEGEN_MAX_RANK 16

/* A file that is open, and what is shared by all that run it: code and weights. */
typedef struct sparsegen_model sparsegen_model;

/* One variant of a model, ready to run: its memory for values in between. */
typedef struct sparsegen_context sparsegen_context;

/* How a file is opened. Set all of it to zero, and `size` to sizeof(sparsegen_options): later versions append
 * fields. */
typedef struct {
    size_t size;
    int threads; /* that a run takes; 0: as many as the variant was compiled for */
    int verify;  /* other than 0: the checksums of weights are checked too, which reads all of the file */
} sparsegen_options;

/* An input or an output: elements lie row-major and without gaps, in `bytes` bytes. `dtype` is torch's name,
 * such as "float32", "int64", "bool", "bfloat16". Names and shapes belong to the model, and live as long. */
typedef struct {
    const char *name;
    const char *dtype;
    int32_t rank;
    int64_t shape[SPARSEGEN_MAX_RANK];
    size_t bytes;
} sparsegen_tensor;

/* The version of the library, such as "0.1.0"; SPARSEGEN_VERSION is that of this header. Never NULL; the text
 * lives as long as the library. Any thread. */
const char *sparsegen_version(void);

/* What was wrong when a function last failed in the calling thread; "" where none did. The text is the
 * library's, and is valid until the next call in the same thread that fails. Any thread. */
const char *sparsegen_last_error(void);

/* Opens a file; `options` of NULL are all zero. The caller owns the model, and closes it. NULL where the file
 * cannot be read, is damaged, has no variant for this machine, or needs torch. Weights are mapped, not read:
 * processes share them, and the file must not be changed while a model of it is open. Any thread. */
sparsegen_model *sparsegen_open(const char *path, const sparsegen_options *options);

/* Closes a model, all contexts of which have to be freed before. NULL is fine. One thread, the last to use
 * it. */
void sparsegen_close(sparsegen_model *model);

/* How many variants run on this machine, at least 1; -1 for a model of NULL. Any thread. */
int sparsegen_variants(const sparsegen_model *model);

/* The plan of a variant, as JSON in UTF-8, ended by a zero: what is computed how, and what became of each
 * layer. `length`, where not NULL, gets its bytes without the zero. It belongs to the model. NULL where there
 * is no such variant, or the model is NULL. Any thread. */
const char *sparsegen_plan(const sparsegen_model *model, int variant, size_t *length);

/* How many inputs and outputs a variant has; -1 where there is no such variant, or the model is NULL. Outputs
 * are those that depend on inputs; the parts of a result that never change are in the plan alone. Any
 * thread. */
int sparsegen_inputs(const sparsegen_model *model, int variant);
int sparsegen_outputs(const sparsegen_model *model, int variant);

/* Tells of one input or output, from 0 on. Returns 0, or -1 where there is no such number, or where the
 * model or `tensor` is NULL. Any thread. */
int sparsegen_input(const sparsegen_model *model, int variant, int number, sparsegen_tensor *tensor);
int sparsegen_output(const sparsegen_model *model, int variant, int number, sparsegen_tensor *tensor);

/* Makes a context: one for each thread that runs the model at a time. The first one of a variant loads its
 * code and makes its weights ready, which takes some milliseconds; variants share what they have in common.
 * The caller owns the context, and frees it before the model is closed. NULL where there is no such variant,
 * memory is missing, the file is damaged, or the model is NULL. Any thread. */
sparsegen_context *sparsegen_context_new(sparsegen_model *model, int variant);

/* Frees a context that no thread runs. NULL is fine. */
void sparsegen_context_free(sparsegen_context *context);

/* Runs the model: reads each of `inputs`, writes each of `outputs`, as many as sparsegen_inputs and
 * sparsegen_outputs tell, of the sizes that sparsegen_input and sparsegen_output tell. They belong to the
 * caller, may lie at any address, and must not overlap, except inputs with each other; outputs at multiples
 * of 64 save a copy. Returns 0, or -1, as for a context, an array or an address that is NULL. Allocates
 * nothing but what kernels need for themselves, once for each thread. One thread at a time for each
 * context. */
int sparsegen_run(sparsegen_context *context, const void *const *inputs, void *const *outputs);

#ifdef __cplusplus
}
#endif

#endif
