/* Runs a model that sparsegen compiled, and prints what it gives.
 *
 *     gcc -std=c11 run.c -o run $(pkg-config --cflags --libs sparsegen)
 *     ./run model.sparsegen [INPUT.bin ...]
 *
 * Each INPUT.bin has the bytes of one input, row-major, as numpy's `array.tofile` writes them. There is one
 * for each input; without any, all inputs are zeros. The outputs are written in the same way to output0.bin,
 * output1.bin and so on.
 */
#include <sparsegen.h>

#include <stdio.h>
#include <stdlib.h>

/* The library prints nothing and ends nothing: that is up to its caller. Its messages begin with the file's
 * name, and tell what to do. */
static void give_up(void) {
    fprintf(stderr, "%s\n", sparsegen_last_error());
    exit(1);
}

/* Memory for one input or output. Any address will do; from a multiple of 64 on, nothing has to be copied. */
static void *room_for(const sparsegen_tensor *tensor) {
    size_t whole_lines = (tensor->bytes + 64) / 64 * 64;
    void *room = aligned_alloc(64, whole_lines);
    if (room == NULL) {
        perror(tensor->name);
        exit(1);
    }
    return room;
}

static void show(const char *kind, const sparsegen_tensor *tensor) {
    printf("%s '%s': %s [", kind, tensor->name, tensor->dtype);
    for (int32_t i = 0; i < tensor->rank; i++) printf(i ? ", %lld" : "%lld", (long long)tensor->shape[i]);
    printf("]\n");
}

static void read_file(const char *path, void *to, size_t bytes) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    if (fread(to, 1, bytes, file) != bytes || fgetc(file) != EOF) {
        fprintf(stderr, "%s does not have exactly the %zu bytes that the input takes\n", path, bytes);
        exit(1);
    }
    fclose(file);
}

static void write_file(int number, const void *from, size_t bytes) {
    char path[32];
    snprintf(path, sizeof path, "output%d.bin", number);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(from, 1, bytes, file) != bytes || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: %s MODEL.sparsegen [INPUT.bin ...]\n", arguments[0]);
        return 2;
    }

    /* Opening maps the file and checks it. NULL stands for options that are all zero: as many threads as the
     * model was compiled for, and no reading of all weights to check their sums. */
    sparsegen_model *model = sparsegen_open(arguments[1], NULL);
    if (model == NULL) give_up();

    /* The file may have the model for several CPUs and batch sizes. Only variants that run on this machine
     * are counted, and number 0 is the best of them for the first shapes. */
    const int variant = 0;
    int inputs = sparsegen_inputs(model, variant), outputs = sparsegen_outputs(model, variant);
    if (count > 2 && count - 2 != inputs) {
        fprintf(stderr, "%s takes %d inputs, %d files were given\n", arguments[1], inputs, count - 2);
        return 2;
    }

    /* The caller owns the memory of inputs and outputs. */
    const void **given = calloc((size_t)inputs + 1, sizeof *given);
    void **results = calloc((size_t)outputs + 1, sizeof *results);
    if (given == NULL || results == NULL) return 1;
    for (int i = 0; i < inputs; i++) {
        sparsegen_tensor tensor;
        if (sparsegen_input(model, variant, i, &tensor)) give_up();
        show("input", &tensor);
        char *room = room_for(&tensor);
        for (size_t byte = 0; byte < tensor.bytes; byte++) room[byte] = 0;
        if (i + 2 < count) read_file(arguments[i + 2], room, tensor.bytes);
        given[i] = room;
    }
    for (int i = 0; i < outputs; i++) {
        sparsegen_tensor tensor;
        if (sparsegen_output(model, variant, i, &tensor)) give_up();
        show("output", &tensor);
        results[i] = room_for(&tensor);
    }

    /* A context is the memory of one run at a time: a program that runs the model on several threads at once
     * has one for each of them, and one model. The first one loads the code and makes the weights ready. */
    sparsegen_context *context = sparsegen_context_new(model, variant);
    if (context == NULL) give_up();

    /* Call this as often as you like: it allocates nothing. */
    if (sparsegen_run(context, given, results)) give_up();

    for (int i = 0; i < outputs; i++) {
        sparsegen_tensor tensor;
        if (sparsegen_output(model, variant, i, &tensor)) give_up();
        write_file(i, results[i], tensor.bytes);
    }

    /* Contexts go before their model. */
    sparsegen_context_free(context);
    sparsegen_close(model);
    for (int i = 0; i < inputs; i++) free((void *)given[i]);
    for (int i = 0; i < outputs; i++) free(results[i]);
    free(given);
    free(results);
    return 0;
}
