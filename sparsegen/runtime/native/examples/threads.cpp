// Runs one model on several threads at once, each with a context of its own.
//
//     g++ -std=c++17 threads.cpp -o threads $(pkg-config --cflags --libs sparsegen) -pthread
//     ./threads model.sparsegen [THREADS [RUNS]]
//
// Inputs are zeros. Prints how often a second the model ran, and whether all threads got the same.
#include <sparsegen.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// Handles that free themselves. A model has to outlive its contexts: declare it before them.
struct Close {
    void operator()(sparsegen_model *model) const { sparsegen_close(model); }
    void operator()(sparsegen_context *context) const { sparsegen_context_free(context); }
};
using Model = std::unique_ptr<sparsegen_model, Close>;
using Context = std::unique_ptr<sparsegen_context, Close>;

// Of a function that failed in this thread: messages are a thread's own.
[[noreturn]] static void give_up() { throw std::runtime_error(sparsegen_last_error()); }

// Memory for all inputs, or all outputs, of a variant, and the list of addresses that sparsegen_run takes.
class Tensors {
public:
    using Tell = int (*)(const sparsegen_model *, int, int, sparsegen_tensor *);

    Tensors(const sparsegen_model *model, int variant, int count, Tell tell) : memory(count) {
        for (int i = 0; i < count; i++) {
            sparsegen_tensor tensor;
            if (tell(model, variant, i, &tensor)) give_up();
            memory[i].resize(tensor.bytes);
            addresses.push_back(memory[i].data());
        }
    }

    std::vector<std::vector<unsigned char>> memory;
    std::vector<void *> addresses;
};

// A whole number from 1 to 10,000,000 of the command line.
static int whole_number(const char *text) {
    char *end = nullptr;
    const long number = std::strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || number < 1 || number > 10000000)
        throw std::runtime_error("'" + std::string(text) +
                                 "' is no number of threads or runs; give 1 or more");
    return static_cast<int>(number);
}

// What one thread does: its own context and outputs, the same model.
static void work(sparsegen_model *model, int variant, int runs, Tensors &outputs, std::string &error) {
    try {
        Context context(sparsegen_context_new(model, variant));
        if (!context) give_up();
        Tensors inputs(model, variant, sparsegen_inputs(model, variant), sparsegen_input);
        for (int i = 0; i < runs; i++)
            if (sparsegen_run(context.get(), inputs.addresses.data(), outputs.addresses.data())) give_up();
    } catch (const std::exception &failure) {
        error = failure.what();
    }
}

int main(int count, char **arguments) try {
    if (count < 2) {
        std::cerr << "usage: " << arguments[0] << " MODEL.sparsegen [THREADS [RUNS]]\n";
        return 2;
    }
    const int threads = count > 2 ? whole_number(arguments[2]) : 2,
              runs = count > 3 ? whole_number(arguments[3]) : 100;
    if (threads > 1024) throw std::runtime_error("give 1 to 1024 threads");

    // One thread for each run: more runs at a time serve more requests than one run on more threads does.
    sparsegen_options options = {};
    options.size = sizeof options;
    options.threads = 1;
    Model model(sparsegen_open(arguments[1], &options));
    if (!model) give_up();

    const int variant = 0;
    std::vector<Tensors> outputs;
    for (int i = 0; i < threads; i++)
        outputs.emplace_back(model.get(), variant, sparsegen_outputs(model.get(), variant), sparsegen_output);

    std::vector<std::string> errors(threads);
    std::vector<std::thread> team;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < threads; i++)
        team.emplace_back(work, model.get(), variant, runs, std::ref(outputs[i]), std::ref(errors[i]));
    for (std::thread &thread : team) thread.join();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;

    bool same = true;
    for (int i = 0; i < threads; i++) {
        if (!errors[i].empty()) throw std::runtime_error(errors[i]);
        same = same && outputs[i].memory == outputs[0].memory;
    }
    std::cout << double(threads) * runs / seconds.count() << " runs a second on " << threads << " threads, "
              << (same ? "the same result in all" : "results differ") << "\n";
    return same ? 0 : 1;
} catch (const std::exception &failure) {
    std::cerr << failure.what() << "\n";
    return 1;
}
