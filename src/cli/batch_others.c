/* batch_others.c: fields that people bring along from elsewhere, and what to write instead. */
#include <string.h>

#include "cli/batch_input.h"

static const struct {
    const char *name, *instead;
} other_fields[] = {
    {"functions", "\"tools\" takes their definitions"},
    {"function_call", "\"tool_choice\" says whether, and which"},
    {"audio", "answers are text"},
    {"web_search_options", "nothing is looked up"},
    {"verbosity", "say in a message how long the answer should be"},
    {"stream_options", "answers are written whole"},
    {"repetition_penalty", "\"repeat_penalty\" with \"repeat_last_n\" takes its place"},
    {"guided_json", "\"json_schema\" takes the schema"},
    {"guided_regex", "\"regex\" takes the pattern"},
    {"guided_choice", "\"choices\" takes the texts"},
    {"guided_grammar", "\"grammar\" takes GBNF"},
    {"structured_outputs", "\"json_schema\", \"regex\", \"choices\" or \"grammar\" take its parts"},
    {"best_of", "\"n\" gives several answers"},
    {"suffix", "lllm infill fills gaps"},
    {"input", "\"messages\" or \"prompt\" say what is asked"},
    /* of llama.cpp's server, Ollama, transformers and vLLM */
    {"n_predict", "\"max_tokens\" takes its number"},
    {"num_predict", "\"max_tokens\" takes its number"},
    {"max_new_tokens", "\"max_tokens\" takes its number"},
    {"cache_prompt", "prompts that begin alike share that without being told"},
    {"id_slot", "lines are given out as there is room; --parallel says how many at once"},
    {"n_probs", "\"top_logprobs\" takes its number"},
    {"format", "\"json_schema\" takes a schema, \"response_format\" {\"type\": \"json_object\"}"},
    {"options", "its parts are fields of the line"},
    {"extra_body", "its parts are fields of the line"},
    {"num_ctx", "--context-size says it for all lines"},
    {"keep_alive", "models are unloaded when their lines are done"},
    {"lora_modules", "the option --lora-modules names adapters, and \"lora\" chooses among them"},
    {"lora-modules", "the option --lora-modules names adapters, and \"lora\" chooses among them"},
    {"lora_request", "\"lora\" chooses among the adapters of --lora-modules"},
    {"adapter", "\"lora\" chooses among the adapters of --lora-modules"},
    {"adapters", "\"lora\" chooses among the adapters of --lora-modules"},
};

const char *batch_instead_of(const char *field)
{
    for (size_t i = 0; i < sizeof other_fields / sizeof *other_fields; i++) {
        if (strcmp(other_fields[i].name, field) == 0) {
            return other_fields[i].instead;
        }
    }
    return NULL;
}
