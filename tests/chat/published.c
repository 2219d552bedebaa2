#include "published.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"

enum { MAX_FILE_BYTES = 64 << 20 };

static const char *data_folder;

void published_open(int argc, char **argv)
{
    data_folder = getenv("LLLM_TEST_DATA");
    if (!data_folder && argc > 1) {
        data_folder = argv[1];
    }
}

bool read_data(const char *name, struct buf *b)
{
    char path[4096];
    buf_init(b, MAX_FILE_BYTES);
    snprintf(path, sizeof path, "%s/%s", data_folder ? data_folder : "", name);
    return data_folder && file_read(path, MAX_FILE_BYTES, b, NULL);
}

void need_templates(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/templates/llama.cpp", data_folder ? data_folder : "");
    if (!data_folder || !file_is_directory(path)) {
        print_message("# no folder templates/llama.cpp: set LLLM_TEST_DATA\n");
        skip();
    }
}

const struct published models[] = {
    {"Apertus-8B-Instruct", "apertus", "apertus"},
    {"Apriel-1.6-15b-Thinker-fixed", "apriel", "apriel"},
    {"ByteDance-Seed-OSS", "seed", "seed"},
    {"Cohere2MoE", "command-r7b", "cohere"},
    {"CohereForAI-c4ai-command-r-plus-tool_use", "command-r", "none"},
    {"CohereForAI-c4ai-command-r7b-12-2024-tool_use", "command-r7b", "cohere"},
    {"GLM-4.7-Flash", "glm", "think"},
    {"GLM-5.2", "glm", "think"},
    {"GigaChat3-10B-A1.8B", "gigachat", "none"},
    {"GigaChat3.1-10B-A1.8B", "gigachat", "none"},
    {"Kimi-K2-Instruct", "kimi", "none"},
    {"Kimi-K2-Thinking", "kimi", "think"},
    {"LFM2-8B-A1B", "lfm2", "none"},
    {"LFM2.5-Instruct", "lfm2", "think"},
    {"Mistral-Small-3.2-24B-Instruct-2506", "mistral", "none"},
    {"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "qwen3-coder", "think"},
    {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "hermes", "none"},
    {"Qwen-QwQ-32B", "hermes", "think"},
    {"Qwen-Qwen2.5-7B-Instruct", "hermes", "none"},
    {"Qwen-Qwen3-0.6B", "hermes", "think"},
    {"Qwen3-Coder", "qwen3-coder", "none"},
    {"Reka-Edge", "hermes", "think"},
    {"StepFun3.5-Flash", "qwen3-coder", "think"},
    {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek", "think"},
    {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek", "think"},
    {"deepseek-ai-DeepSeek-V3.2", "dsml", "think"},
    {"deepseek-ai-DeepSeek-V4", "dsml", "think"},
    {"fireworks-ai-llama-3-firefunction-v2", "firefunction", "none"},
    {"google-gemma-2-2b-it", "generic", "none"},
    {"google-gemma-4-31B-it", "gemma4", "gemma4"},
    {"ibm-granite-granite-3.3-2B-Instruct", "phi4", "think"},
    {"llama-cpp-deepseek-r1", "deepseek", "think"},
    {"llama-cpp-rwkv-world", "generic", "think"},
    {"meetkai-functionary-medium-v3.2", "functionary-v3.2", "none"},
    {"meta-llama-Llama-3.1-8B-Instruct", "llama3", "none"},
    {"meta-llama-Llama-3.2-3B-Instruct", "llama3", "none"},
    {"meta-llama-Llama-3.3-70B-Instruct", "llama3", "none"},
    {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral", "mistral"},
    {"mistralai-Mistral-Nemo-Instruct-2407", "mistral", "none"},
    {"moonshotai-Kimi-K2", "kimi", "none"},
    {"openai-gpt-oss-120b", "harmony", "none"},
    {"unsloth-Apriel-1.5", "apriel", "apriel"},
    {"unsloth-mistral-Devstral-Small-2507", "mistral", "none"},
};
const int n_models = sizeof models / sizeof *models;

void read_template(const char *file, struct buf *b)
{
    char name[256];
    snprintf(name, sizeof name, "templates/llama.cpp/%s.jinja", file);
    if (!read_data(name, b)) {
        fail_msg("%s cannot be read", name);
    }
}
