#include "model.h"

#include <stdio.h>
#include <string.h>

#include "cpu.h"
#include "errors.h"
#include "forks.h"
#include "team.h"

/* ---- variants that run here --------------------------------------------------------------------- */

/* The first of a variant's features that this machine lacks; NULL where it has all. -1: they are no names. */
static int lacking_feature(const Json *variant, const char **lacking) {
    size_t count;
    const Json *features = json_items(json_get(variant, "features"), &count);
    *lacking = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *feature = json_text(&features[i]);
        if (!feature) return -1;
        if (!*lacking && !cpu_has(feature)) *lacking = feature;
    }
    return features ? 0 : -1;
}

/* The section of a variant's plan, code or extents, which bears the name of its kind, as those that are
 * checked do; NULL with a message. */
static const Section *section_of(const Artefact *artefact, const Json *written, const char *kind) {
    size_t length = strlen(kind);
    const char *name = json_text(json_get(written, kind));
    const Section *section = artefact_section(artefact, name);
    if (section && !strncmp(name, kind, length) && name[length] == '/') return section;
    fail_damaged("a variant has no section '%s/...'", kind);
    return NULL;
}

/* Whether extents are those of a section of code, by the sum that was checked. */
static int belongs(const Artefact *artefact, const Json *extents, const Section *code) {
    const char *told = json_text(json_get(extents, "code"));
    const char *sum = json_text(json_get(json_get(artefact->manifest, "sha256"), code->name));
    return told && sum && !strcmp(told, sum);
}

/* Whether what the manifest tells of a variant, for those who choose one, is what its plan says. */
static int check_told(const Json *written, const Json *plan_json, const Plan *plan) {
    const Json *batch = json_get(written, "batch");
    const char *told = json_text(json_get(written, "target")),
               *target = json_text(json_get(plan_json, "target"));
    int differs = json_count(json_get(written, "threads")) != plan->threads || !told ||
                  (target && strcmp(told, target) != 0);
    for (int32_t i = 0; batch && batch->kind != JSON_NULL && i < plan->inputs_count; i++) {
        const Form *form = &plan->inputs[i].form;
        differs |= !form->rank || json_count(batch) != form->shape[0];
    }
    return differs ? fail_damaged("a variant's target, threads or batch are not those of its plan") : 0;
}

static int read_variant(Artefact *artefact, const Json *written, Variant *variant, int threads) {
    Bump *memory = &artefact->memory;
    const Section *plan = section_of(artefact, written, "plan"),
                  *extents = section_of(artefact, written, "extents");
    variant->code = section_of(artefact, written, "code");
    if (!plan || !extents || !variant->code) return -1;
    const Json *plan_json = json_parse(memory, plan->data, plan->bytes, "a plan");
    if (!plan_json || plan_read(memory, plan_json, &variant->plan)) return -1;
    const Json *extents_json = json_parse(memory, extents->data, extents->bytes, "the extents of code");
    if (!extents_json) return -1;
    if (!belongs(artefact, extents_json, variant->code))
        return fail_damaged("a variant's extents are of other code");
    if (plan_check_extents(&variant->plan, extents_json)) return -1;
    char *text = bump_new(memory, plan->bytes + 1, 1);
    if (!text) return -1;
    memcpy(text, plan->data, plan->bytes);
    variant->text = text;
    variant->length = plan->bytes;
    if (check_told(written, plan_json, &variant->plan)) return -1;
    variant->integers = json_get(extents_json, "integers");
    variant->threads = threads ? threads : variant->plan.threads;
    return 0;
}

static int read_variants(sparsegen_model *model, int threads) {
    size_t count;
    const char *lacking, *lacked = NULL, *target = NULL;
    const Json *written = json_items(json_get(model->artefact.manifest, "variants"), &count);
    const Json *torch = json_get(model->artefact.manifest, "needs_torch");
    int needs_torch = torch && torch->kind != JSON_NULL ? json_flag(torch) : -1;
    if (needs_torch < 0) return fail_damaged("it does not tell whether it needs torch");
    if (needs_torch) return fail("the model needs torch: load it from Python with sparsegen");
    if (!count) return fail_damaged("it has no variants");
    model->variants = bump_new(&model->artefact.memory, count, sizeof *model->variants);
    if (!model->variants) return -1;
    for (size_t i = 0; i < count; i++) {
        if (lacking_feature(&written[i], &lacking))
            return fail_damaged("a variant does not tell its features");
        if (lacking) {
            lacked = lacking;
            target = json_text(json_get(&written[i], "target"));
            continue;
        }
        if (read_variant(&model->artefact, &written[i], &model->variants[model->count], threads)) return -1;
        model->count++;
    }
    if (model->count) return 0;
    return fail("it was compiled for %.40s, and this machine lacks %.40s; compile it for this machine's CPU",
                target ? target : "another CPU", lacked);
}

int model_open(sparsegen_model *model, const char *path, int threads, int verify) {
    pthread_mutex_init(&model->lock, NULL);
    forks_enter(model);
    if (artefact_open(&model->artefact, path, verify)) return -1;
    size_t length = strlen(path);
    char *copy = bump_new(&model->artefact.memory, length + 1, 1);
    if (!copy) return -1;
    model->path = memcpy(copy, path, length);
    return read_variants(model, threads);
}

void model_close(sparsegen_model *model) {
    forks_leave(model);
    for (int i = 0; i < model->count; i++) library_free(model->variants[i].library);
    weights_free(&model->weights);
    artefact_close(&model->artefact);
    pthread_mutex_destroy(&model->lock);
}

/* ---- code and arrays of a variant --------------------------------------------------------------- */

static int find_functions(Bump *memory, Variant *variant) {
    const Plan *plan = &variant->plan;
    void **functions = bump_new(memory, (size_t)plan->calls_count, sizeof *functions);
    if (!functions) return -1;
    for (int32_t i = 0; i < plan->calls_count; i++) {
        char name[256];
        int length = snprintf(name, sizeof name, "__tvm_ffi_%s", plan->calls[i].symbol);
        functions[i] = length < (int)sizeof name ? library_function(variant->library, name) : NULL;
        if (!functions[i]) return fail_damaged("its code has no function '%.60s'", plan->calls[i].symbol);
    }
    variant->functions = functions;
    return 0;
}

static int make(sparsegen_model *model, Variant *variant) {
    if (!variant->library && variant->plan.calls_count) {
        variant->library = library_load(variant->code->data, variant->code->bytes, "the code");
        if (!variant->library) return -1;
    }
    if (find_functions(&model->artefact.memory, variant)) return -1;
    const void **arrays =
        bump_new(&model->artefact.memory, (size_t)variant->plan.arrays_count, sizeof *arrays);
    if (!arrays) return -1;
    int before = team;
    team = variant->threads;
    int failed = weights_make(&model->weights, &model->artefact, &variant->plan, variant->integers, arrays);
    team = before;
    if (!failed) variant->arrays = arrays;
    return failed;
}

int variant_make(sparsegen_model *model, Variant *variant) {
    pthread_mutex_lock(&model->lock);
    int failed = variant->arrays ? 0 : make(model, variant);
    pthread_mutex_unlock(&model->lock);
    return failed;
}
