/* Calls every function of sparsegen.h with handles and addresses that are NULL; tells by its status whether
 * each one refused. Argument: a model of one input and one output. */
#include <sparsegen.h>

#include <stdio.h>
#include <string.h>

static int wrong;

/* Whether a call failed, and its message has such words in it. */
static void check(const char *call, int failed, const char *words) {
    if (failed && strstr(sparsegen_last_error(), words)) return;
    fprintf(stderr, "%s: %s [%s]\n", call, failed ? "another message" : "no failure", sparsegen_last_error());
    wrong = 1;
}
#define CHECK(call, failure, words) check(#call, (call) == (failure), words)

/* All functions that take a model or a context of NULL. */
static void take_null(const char *of_model, const char *of_context) {
    sparsegen_tensor tensor;
    size_t length = 7;
    CHECK(sparsegen_variants(NULL), -1, of_model);
    CHECK(sparsegen_plan(NULL, 0, NULL), NULL, of_model);
    CHECK(sparsegen_plan(NULL, 0, &length), NULL, of_model);
    check("the plan's length", length == 0, "");
    CHECK(sparsegen_inputs(NULL, 0), -1, of_model);
    CHECK(sparsegen_outputs(NULL, 0), -1, of_model);
    CHECK(sparsegen_input(NULL, 0, 0, &tensor), -1, of_model);
    CHECK(sparsegen_output(NULL, 0, 0, &tensor), -1, of_model);
    CHECK(sparsegen_context_new(NULL, 0), NULL, of_model);
    CHECK(sparsegen_run(NULL, NULL, NULL), -1, of_context);
    sparsegen_context_free(NULL);
    sparsegen_close(NULL);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    take_null("the model is NULL; give one that sparsegen_open returned", "the context is NULL");
    CHECK(sparsegen_open(NULL, NULL), NULL, "the path is NULL");
    take_null("the path is NULL", "the path is NULL");
    CHECK(sparsegen_open("none", NULL), NULL, "none: the file cannot be opened");
    take_null("none: the file cannot be opened", "none: the file cannot be opened");

    sparsegen_model *model = sparsegen_open(arguments[1], NULL);
    if (!model) return 3;
    take_null("the model is NULL", "the context is NULL");
    CHECK(sparsegen_input(model, 0, 0, NULL), -1, "the tensor to fill in is NULL");
    CHECK(sparsegen_output(model, 0, 0, NULL), -1, "the tensor to fill in is NULL");
    CHECK(sparsegen_context_new(model, 99), NULL, "there is no variant 99");
    CHECK(sparsegen_run(NULL, NULL, NULL), -1, "there is no variant 99");
    sparsegen_context *context = sparsegen_context_new(model, 0);
    if (!context) return 4;
    CHECK(sparsegen_run(NULL, NULL, NULL), -1, "the context is NULL");
    static float numbers[64];
    const void *inputs[] = {numbers}, *no_inputs[] = {NULL};
    void *outputs[] = {numbers + 32}, *no_outputs[] = {NULL};
    CHECK(sparsegen_run(context, NULL, outputs), -1, "are NULL");
    CHECK(sparsegen_run(context, inputs, NULL), -1, "are NULL");
    CHECK(sparsegen_run(context, no_inputs, outputs), -1, "is NULL");
    CHECK(sparsegen_run(context, inputs, no_outputs), -1, "is NULL");
    check("a run", !sparsegen_run(context, inputs, outputs), "");
    sparsegen_context_free(context);
    sparsegen_close(model);
    return wrong;
}
