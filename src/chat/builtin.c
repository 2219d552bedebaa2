/* builtin.c: the templates that the program brings. Plain Jinja2 under trim_blocks and
 * lstrip_blocks, so other programs can render them too. The words are those that the models were
 * trained on. */
#include "chat/builtin.h"

#include <ctype.h>
#include <string.h>

/* A template is one string, and ISO C promises 4095 bytes of one; compilers take more. */
#pragma GCC diagnostic ignored "-Woverlength-strings"

/* clang-format off */

/* User and assistant take turns, the user first; a system message may stand before. */
#define TURNS                                                                                     \
    "{%- set system = messages[0].content if messages and messages[0].role == 'system' else none %}\n"     \
    "{%- set turns = messages[1:] if system is not none else messages %}\n"                       \
    "{%- for m in turns %}\n"                                                                     \
    "    {%- if (m.role == 'user') != (loop.index0 is even) %}\n"                                 \
    "        {{- raise_exception('user and assistant must take turns, the user first') }}\n"      \
    "    {%- endif %}\n"                                                                          \
    "{%- endfor %}\n"

static const char llama2[] =
    TURNS
    "{%- for m in turns %}\n"
    "    {%- if m.role == 'user' %}\n"
    "        {%- set words = m.content %}\n"
    "        {%- if loop.first and system is not none %}\n"
    "            {%- set words = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + words %}\n"
    "        {%- endif %}\n"
    "        {{- bos_token + '[INST] ' + words | trim + ' [/INST]' }}\n"
    "    {%- elif m.role == 'assistant' %}\n"
    "        {{- ' ' + m.content | trim + ' ' + eos_token }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n";

static const char llama3[] =
    "{%- for m in messages %}\n"
    "    {{- bos_token if loop.first else '' }}\n"
    "    {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}\n";

/* 7B v0.1 and v0.2, Mixtral 8x7B: no system message. */
static const char mistral_v1[] =
    TURNS
    "{%- if system is not none %}{{- raise_exception('this template has no system message') }}{%- endif %}\n"
    "{{- bos_token }}\n"
    "{%- for m in turns %}\n"
    "    {%- if m.role == 'user' %}{{- '[INST] ' + m.content + ' [/INST]' }}\n"
    "    {%- elif m.role == 'assistant' %}{{- m.content + eos_token }}\n"
    "    {%- else %}{{- raise_exception('only user and assistant speak in this template') }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n";

/* What the templates with tools share: turns that count, and the system's words with the last user's.
 * `before` and `behind` are what stands around words inside the marks. */
#define MISTRAL_TOOLS(inside, before, definitions)                                                \
    "{%- set system = messages[0].content if messages and messages[0].role == 'system' else none %}\n"     \
    "{%- set turns = messages[1:] if system is not none else messages %}\n"                       \
    "{%- set asked = turns | selectattr('role', 'equalto', 'user') | list %}\n"                   \
    "{%- set ns = namespace(n=0) %}\n"                                                            \
    "{%- for m in turns if m.role not in ['tool', 'tool_results'] and not m.tool_calls %}\n"      \
    "    {%- if (m.role == 'user') != (ns.n is even) %}\n"                                        \
    "        {{- raise_exception('user and assistant must take turns, the user first') }}\n"      \
    "    {%- endif %}\n"                                                                          \
    "    {%- set ns.n = ns.n + 1 %}\n"                                                            \
    "{%- endfor %}\n"                                                                             \
    "{{- bos_token }}\n"                                                                          \
    "{%- for m in turns %}\n"                                                                     \
    "    {%- if m.role == 'user' %}\n"                                                            \
    "        {%- if tools and m == asked[-1] %}\n"                                                \
    "            {{- '[AVAILABLE_TOOLS]" inside "' + " definitions " + '[/AVAILABLE_TOOLS]' }}\n" \
    "        {%- endif %}\n"                                                                      \
    "        {%- set words = system + '\\n\\n' + m.content if loop.last and system is not none else m.content %}\n" \
    "        {{- '[INST]" inside "' + words + '[/INST]' }}\n"                                     \
    "    {%- elif m.tool_calls %}\n"                                                              \
    "        {{- '[TOOL_CALLS]" inside "[' }}\n"                                                  \
    "        {%- for call in m.tool_calls %}\n"                                                   \
    "            {%- if not call.id is defined or call.id | length != 9 %}\n"                     \
    "                {{- raise_exception('ids of tool calls must be nine letters and digits') }}\n"       \
    "            {%- endif %}\n"                                                                  \
    "            {{- (call.function | tojson)[:-1] + ', \"id\": \"' + call.id + '\"}' }}\n"       \
    "            {{- '' if loop.last else ', ' }}\n"                                              \
    "        {%- endfor %}\n"                                                                     \
    "        {{- ']' + eos_token }}\n"                                                            \
    "    {%- elif m.role == 'assistant' %}{{- '" before "' + m.content + eos_token }}\n"          \
    "    {%- elif m.role in ['tool', 'tool_results'] %}\n"                                        \
    "        {%- if not m.tool_call_id is defined or m.tool_call_id | length != 9 %}\n"           \
    "            {{- raise_exception('ids of tool calls must be nine letters and digits') }}\n"   \
    "        {%- endif %}\n"                                                                      \
    "        {{- '[TOOL_RESULTS]" inside "{\"content\": ' + m.content | string + ', \"call_id\": \"' + m.tool_call_id + '\"}[/TOOL_RESULTS]' }}\n" \
    "    {%- else %}{{- raise_exception('a role that this template does not know') }}\n"          \
    "    {%- endif %}\n"                                                                          \
    "{%- endfor %}\n"

/* 7B v0.3: the marks are tokens, with blanks inside. */
static const char mistral_v3[] = MISTRAL_TOOLS(" ", " ", "tools | tojson");
/* Nemo: the same without blanks. */
static const char mistral_tekken[] = MISTRAL_TOOLS("", "", "tools | tojson");

/* Small 3 and later. */
static const char mistral_v7[] =
    "{{- bos_token }}\n"
    "{%- set asked = messages | selectattr('role', 'equalto', 'user') | list %}\n"
    "{%- for m in messages %}\n"
    "    {%- if m.role == 'system' %}{{- '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}\n"
    "    {%- elif m.role == 'user' %}\n"
    "        {%- if tools and m == asked[-1] %}\n"
    "            {{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}\n"
    "        {%- endif %}\n"
    "        {{- '[INST]' + m.content + '[/INST]' }}\n"
    "    {%- elif m.role == 'assistant' %}\n"
    "        {%- for call in m.tool_calls or [] %}\n"
    "            {{- '[TOOL_CALLS]' + call.function.name + '[CALL_ID]' + call.id }}\n"
    "            {{- '[ARGS]' + call.function.arguments | tojson }}\n"
    "        {%- else %}{{- m.content }}\n"
    "        {%- endfor %}\n"
    "        {{- eos_token }}\n"
    "    {%- elif m.role in ['tool', 'tool_results'] %}\n"
    "        {{- '[TOOL_RESULTS]' + m.tool_call_id + '[TOOL_CONTENT]' + m.content | string + '[/TOOL_RESULTS]' }}\n"
    "    {%- else %}{{- raise_exception('a role that this template does not know') }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n";

static const char phi2[] =
    "{%- for m in messages %}\n"
    "    {%- if m.role == 'user' %}{{- 'Instruct: ' + m.content + '\\n' }}\n"
    "    {%- elif m.role == 'assistant' %}{{- 'Output: ' + m.content + '\\n' }}\n"
    "    {%- elif m.role == 'system' %}{{- m.content + '\\n' }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- 'Output:' }}{%- endif %}\n";

static const char phi3[] =
    "{%- for m in messages %}\n"
    "    {{- '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}\n";

static const char phi4[] =
    "{%- for m in messages %}\n"
    "    {{- '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant<|im_sep|>' }}{%- endif %}\n";

static const char gemma[] =
    TURNS
    "{%- if system is not none %}{{- raise_exception('this template has no system message') }}{%- endif %}\n"
    "{{- bos_token }}\n"
    "{%- for m in turns %}\n"
    "    {%- set role = 'model' if m.role == 'assistant' else m.role %}\n"
    "    {{- '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}\n";

static const char zephyr[] =
    "{%- for m in messages if m.role in ['system', 'user', 'assistant'] %}\n"
    "    {{- '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}\n";

#define BAR "\xef\xbd\x9c"
#define SPACE "\xe2\x96\x81"

#define TOOL(what, which) "<" BAR "tool" SPACE what SPACE which BAR ">"

/* Behind what a tool returns, the assistant goes on without its own mark. */
static const char deepseek[] =
    "{%- set ns = namespace(system='') %}\n"
    "{%- for m in messages if m.role == 'system' %}{%- set ns.system = m.content %}{%- endfor %}\n"
    "{{- bos_token + ns.system }}\n"
    "{%- for m in messages %}\n"
    "    {%- if m.role == 'user' %}{{- '<" BAR "User" BAR ">' + m.content }}\n"
    "    {%- elif m.role == 'assistant' %}\n"
    "        {{- '' if loop.previtem and loop.previtem.role == 'tool' else '<" BAR "Assistant" BAR ">' }}\n"
    "        {{- m.content.split('</think>')[-1] }}\n"
    "        {%- for call in m.tool_calls or [] %}\n"
    "            {{- '" TOOL("calls", "begin") "' if loop.first else '\\n' }}\n"
    "            {{- '" TOOL("call", "begin") "function<" BAR "tool" SPACE "sep" BAR ">' + call.function.name }}\n"
    "            {{- '\\n```json\\n' + call.function.arguments | tojson + '\\n```" TOOL("call", "end") "' }}\n"
    "            {{- '" TOOL("calls", "end") "' if loop.last else '' }}\n"
    "        {%- endfor %}\n"
    "        {{- '<" BAR "end" SPACE "of" SPACE "sentence" BAR ">' }}\n"
    "    {%- elif m.role == 'tool' %}\n"
    "        {{- '\\n' if loop.previtem and loop.previtem.role == 'tool' else '" TOOL("outputs", "begin") "' }}\n"
    "        {{- '" TOOL("output", "begin") "' + m.content + '" TOOL("output", "end") "' }}\n"
    "        {{- '' if loop.nextitem and loop.nextitem.role == 'tool' else '" TOOL("outputs", "end") "' }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt and not (messages and messages[-1].role == 'tool') %}\n"
    "    {{- '<" BAR "Assistant" BAR ">' }}\n"
    "{%- endif %}\n";

static const char command_r[] =
    "{{- bos_token }}\n"
    "{%- for m in messages %}\n"
    "    {%- set speaker = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'}[m.role] %}\n"
    "    {{- '<|START_OF_TURN_TOKEN|><|' + speaker + '_TOKEN|>' + m.content | trim + '<|END_OF_TURN_TOKEN|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{%- endif %}\n";

static const char alpaca[] =
    "{%- if not messages or messages[0].role != 'system' %}\n"
    "    {{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\\n\\n' }}\n"
    "{%- endif %}\n"
    "{%- for m in messages %}\n"
    "    {%- if m.role == 'system' %}{{- m.content + '\\n\\n' }}\n"
    "    {%- elif m.role == 'user' %}{{- '### Instruction:\\n' + m.content + '\\n\\n' }}\n"
    "    {%- elif m.role == 'assistant' %}{{- '### Response:\\n' + m.content + eos_token + '\\n\\n' }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '### Response:\\n' }}{%- endif %}\n";

static const char vicuna[] =
    "{%- if not messages or messages[0].role != 'system' %}\n"
    "    {{- \"A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, \" }}\n"
    "    {{- \"detailed, and polite answers to the user's questions. \" }}\n"
    "{%- endif %}\n"
    "{%- for m in messages %}\n"
    "    {%- if m.role == 'system' %}{{- m.content + ' ' }}\n"
    "    {%- elif m.role == 'user' %}{{- 'USER: ' + m.content + ' ' }}\n"
    "    {%- elif m.role == 'assistant' %}{{- 'ASSISTANT: ' + m.content + eos_token }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- 'ASSISTANT:' }}{%- endif %}\n";

/* gpt-oss. Tools are told as TypeScript; thoughts of earlier turns are left out. Blanks in odd places are
 * those of the published text. */
static const char gpt_oss[] =
    "{%- macro type_of(spec, required) %}\n"
    "    {%- if spec.type == 'array' %}\n"
    "        {%- set of = spec['items'].type if spec['items'] else none %}\n"
    "        {%- if of in ['string', 'boolean'] %}{{- of + '[]' }}\n"
    "        {%- elif of in ['number', 'integer'] %}{{- 'number[]' }}\n"
    "        {%- elif spec['items'] %}\n"
    "            {%- set inner = type_of(spec['items'], required) %}\n"
    "            {{- 'any[]' if inner == 'object | object' or inner | length > 50 else inner + '[]' }}\n"
    "        {%- else %}{{- 'any[]' }}{%- endif %}\n"
    "        {{- ' | null' if spec.nullable else '' }}\n"
    "    {%- elif spec.type is defined and spec.type is iterable and spec.type is not string and spec.type is not mapping and spec.type[0] is defined %}\n"
    "        {{- spec.type | join(' | ') }}\n"
    "    {%- elif spec.oneOf %}\n"
    "        {%- for variant in spec.oneOf %}\n"
    "            {{- type_of(variant, required) }}\n"
    "            {{- '// ' + variant.description if variant.description else '' }}\n"
    "            {{- '                    // default: ' + variant.default | tojson if variant.default is defined else '' }}\n"
    "            {{- ' | \\n' if not loop.last else '' }}\n"
    "        {%- endfor %}\n"
    "    {%- elif spec.type == 'string' %}\n"
    "        {{- '\"' + spec.enum | join('\" | \"') + '\"' if spec.enum else 'string | null' if spec.nullable else 'string' }}\n"
    "    {%- elif spec.type in ['number', 'integer'] %}{{- 'number' }}\n"
    "    {%- elif spec.type == 'boolean' %}{{- 'boolean' }}\n"
    "    {%- elif spec.type == 'object' and spec.properties %}\n"
    "        {{- '{\\n' }}\n"
    "        {%- for name, inner in spec.properties.items() %}\n"
    "            {{- name + ('' if name in (spec.required or []) else '?') + ': \\n                ' }}\n"
    "            {{- type_of(inner, spec.required or []) + ('' if loop.last else ', ') }}\n"
    "        {%- endfor %}\n"
    "        {{- '}' }}\n"
    "    {%- else %}{{- 'object' if spec.type == 'object' else 'any' }}{%- endif %}\n"
    "{%- endmacro %}\n"
    "{%- set told = messages[0].content if messages and messages[0].role in ['system', 'developer'] else '' %}\n"
    "{%- set turns = messages[1:] if messages and messages[0].role in ['system', 'developer'] else messages %}\n"
    "{{- '<|start|>system<|message|>' + (model_identity | default('You are ChatGPT, a large language model trained by OpenAI.')) }}\n"
    "{{- '\\nKnowledge cutoff: 2024-06\\nCurrent date: ' + strftime_now('%Y-%m-%d') }}\n"
    "{{- '\\n\\nReasoning: ' + (reasoning_effort | default('medium')) }}\n"
    "{{- '\\n\\n# Valid channels: analysis, commentary, final. Channel must be included for every message.' }}\n"
    "{{- \"\\nCalls to these tools must go to the commentary channel: 'functions'.\" if tools else '' }}\n"
    "{{- '<|end|>' }}\n"
    "{%- if told or tools %}\n"
    "    {{- '<|start|>developer<|message|>' + ('# Instructions\\n\\n' + told + '\\n\\n' if told else '') }}\n"
    "    {%- if tools %}\n"
    "        {{- '# Tools\\n\\n## functions\\n\\nnamespace functions {\\n\\n' }}\n"
    "        {%- for tool in tools %}\n"
    "            {%- set f = tool.function %}\n"
    "            {{- '// ' + f.description + '\\ntype ' + f.name + ' = ' }}\n"
    "            {%- if f.parameters and f.parameters.properties %}\n"
    "                {{- '(_: {\\n' }}\n"
    "                {%- for name, spec in f.parameters.properties.items() %}\n"
    "                    {{- '// ' + spec.description + '\\n' if spec.description else '' }}\n"
    "                    {{- name + ('' if name in (f.parameters.required or []) else '?') + ': ' }}\n"
    "                    {{- type_of(spec, f.parameters.required or []) }}\n"
    "                    {%- if spec.default is defined %}\n"
    "                        {{- '// default: ' if spec.oneOf and not spec.enum else ', // default: ' }}\n"
    "                        {{- spec.default if spec.enum or spec.oneOf else spec.default | tojson }}\n"
    "                    {%- endif %}\n"
    "                    {{- ',\\n' }}\n"
    "                {%- endfor %}\n"
    "                {{- '}) => any;\\n\\n' }}\n"
    "            {%- else %}{{- '() => any;\\n\\n' }}{%- endif %}\n"
    "        {%- endfor %}\n"
    "        {{- '} // namespace functions' }}\n"
    "    {%- endif %}\n"
    "    {{- '<|end|>' }}\n"
    "{%- endif %}\n"
    "{%- set called = namespace(name=none) %}\n"
    "{%- for m in turns %}\n"
    "    {%- if m.role == 'user' %}{{- '<|start|>user<|message|>' + m.content + '<|end|>' }}\n"
    "    {%- elif m.role == 'tool' %}\n"
    "        {%- if called.name is none %}{{- raise_exception('a tool result without a call before it') }}{%- endif %}\n"
    "        {{- '<|start|>functions.' + called.name + ' to=assistant<|channel|>commentary<|message|>' + m.content | tojson + '<|end|>' }}\n"
    "    {%- elif m.role == 'assistant' and m.tool_calls %}\n"
    "        {%- set answered = namespace(later=false) %}\n"
    "        {%- for later in turns[loop.index:] if later.role == 'assistant' and not later.tool_calls %}{%- set answered.later = true %}{%- endfor %}\n"
    "        {%- if m.content and m.thinking %}\n"
    "            {{- raise_exception('a message with a tool call has words or thoughts, not both') }}\n"
    "        {%- elif (m.content or m.thinking) and not answered.later %}\n"
    "            {{- '<|start|>assistant<|channel|>analysis<|message|>' + (m.content or m.thinking) + '<|end|>' }}\n"
    "        {%- endif %}\n"
    "        {%- set call = m.tool_calls[0].function or m.tool_calls[0] %}\n"
    "        {{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' }}\n"
    "        {{- call.arguments | tojson + '<|call|>' }}\n"
    "        {%- set called.name = call.name %}\n"
    "    {%- elif m.role == 'assistant' %}\n"
    "        {%- set last = loop.last and not add_generation_prompt %}\n"
    "        {%- if last and m.thinking is defined %}\n"
    "            {{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}\n"
    "        {%- endif %}\n"
    "        {{- '<|start|>assistant<|channel|>final<|message|>' + m.content + ('<|return|>' if last else '<|end|>') }}\n"
    "        {%- if not last %}{%- set called.name = none %}{%- endif %}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}\n";

/* clang-format on */

static const struct chat_builtin rows[] = {
    {"alpaca", "Alpaca and models trained like it", alpaca, "<s>", "</s>"},
    {"chatml", "Qwen, Hermes, SmolLM, the starter model, and many more", chat_template_chatml, "",
     "<|im_end|>"},
    {"codellama", "CodeLlama Instruct 7B, 13B, 34B", llama2, "<s>", "</s>"},
    {"command-r", "Command-R", command_r, "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"},
    {"deepseek", "DeepSeek V3", deepseek, "<" BAR "begin" SPACE "of" SPACE "sentence" BAR ">",
     "<" BAR "end" SPACE "of" SPACE "sentence" BAR ">"},
    {"gemma", "Gemma 1, 2, 3", gemma, "<bos>", "<eos>"},
    {"gpt-oss", "gpt-oss (harmony)", gpt_oss, "<|startoftext|>", "<|return|>"},
    {"llama2", "Llama 2 Chat", llama2, "<s>", "</s>"},
    {"llama3", "Llama 3, 3.1, 3.2, 3.3 Instruct", llama3, "<|begin_of_text|>", "<|eot_id|>"},
    {"mistral", "Mistral 7B v0.1, v0.2, Mixtral 8x7B Instruct", mistral_v1, "<s>", "</s>"},
    {"mistral-tekken", "Mistral Nemo", mistral_tekken, "<s>", "</s>"},
    {"mistral-v3", "Mistral 7B Instruct v0.3", mistral_v3, "<s>", "</s>"},
    {"mistral-v7", "Mistral Small 3, Ministral, Magistral, Devstral", mistral_v7, "<s>", "</s>"},
    {"phi-2", "Phi-2", phi2, "<|endoftext|>", "<|endoftext|>"},
    {"phi-3", "Phi-3, Phi-3.5, Phi-4 mini", phi3, "<s>", "<|end|>"},
    {"phi-4", "Phi-4", phi4, "", "<|im_end|>"},
    {"tinyllama", "TinyLlama 1.1B Chat", zephyr, "<s>", "</s>"},
    {"vicuna", "Vicuna v1.1, v1.5", vicuna, "<s>", "</s>"},
    {"zephyr", "Zephyr 7B", zephyr, "<s>", "</s>"},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const struct chat_builtin *chat_builtin_at(size_t i)
{
    return i < N_ROWS ? &rows[i] : NULL;
}

void chat_builtin_tokens(const struct chat_builtin *b, json_t *vars)
{
    if (!json_object_get(vars, "bos_token")) {
        json_object_set_new(vars, "bos_token", json_string(b->bos));
    }
    if (!json_object_get(vars, "eos_token")) {
        json_object_set_new(vars, "eos_token", json_string(b->eos));
    }
}

/* Letters and digits alone, in lower case: "Llama-2" and "llama2" are one name. */
static void plain_name(const char *name, char out[64])
{
    size_t n = 0;
    for (; *name && n < 63; name++) {
        if (isalnum((unsigned char)*name)) {
            out[n++] = (char)tolower((unsigned char)*name);
        }
    }
    out[n] = 0;
}

const struct chat_builtin *chat_builtin_find(const char *name)
{
    static const char *const others[][2] = {
        {"mixtral", "mistral"},
        {"mistralv1", "mistral"},
        {"nemo", "mistral-tekken"},
        {"mistralv3tekken", "mistral-tekken"},
        {"mistralv7tekken", "mistral-v7"},
        {"harmony", "gpt-oss"},
        {"qwen", "chatml"},
        {"qwen2", "chatml"},
        {"hermes", "chatml"},
        {"gemma2", "gemma"},
        {"gemma3", "gemma"},
        {"commandr", "command-r"},
        {"deepseek3", "deepseek"},
        {"llama31", "llama3"},
        {"llama32", "llama3"},
        {"llama33", "llama3"},
    };
    char wanted[64], own[64];
    plain_name(name, wanted);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(others[i][0], wanted) == 0) {
            plain_name(others[i][1], wanted);
        }
    }
    for (size_t i = 0; i < N_ROWS; i++) {
        plain_name(rows[i].name, own);
        if (strcmp(own, wanted) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Whether the vocabulary has all of these (ended by NULL). */
static bool has_all(chat_probe_fn *probe, void *context, const char *const *tokens)
{
    for (; *tokens; tokens++) {
        if (!probe || probe(context, *tokens) == CHAT_TOKEN_NONE) {
            return false;
        }
    }
    return true;
}

const struct chat_builtin *chat_builtin_for(const char *architecture, const char *model_name,
                                            chat_probe_fn *probe, void *context)
{
    /* Tokens that were made for a template. The more special rows first. */
    static const struct {
        const char *tokens[4], *name;
    } vocabularies[] = {
        {{"<|im_start|>", "<|im_sep|>", "<|im_end|>"}, "phi-4"},
        {{"<|im_start|>", "<|im_end|>"}, "chatml"},
        {{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, "llama3"},
        {{"<|start|>", "<|channel|>", "<|message|>"}, "gpt-oss"},
        {{"<start_of_turn>", "<end_of_turn>"}, "gemma"},
        {{"<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"}, "command-r"},
        {{"<" BAR "User" BAR ">", "<" BAR "Assistant" BAR ">"}, "deepseek"},
        {{"[SYSTEM_PROMPT]", "[INST]"}, "mistral-v7"},
        {{"[INST]", "[TOOL_CALLS]", SPACE "the"}, "mistral-v3"},
        {{"[INST]", "[TOOL_CALLS]"}, "mistral-tekken"},
        {{"<|user|>", "<|assistant|>", "<|end|>"}, "phi-3"},
    };
    /* Words in the name of a model whose template has no tokens of its own. */
    static const struct {
        const char *words[2], *name;
    } names[] = {
        {{"tinyllama", "chat"}, "tinyllama"}, {{"codellama", "instruct"}, "codellama"},
        {{"llama2", "chat"}, "llama2"},       {{"mixtral", "instruct"}, "mistral"},
        {{"mistral", "instruct"}, "mistral"}, {{"zephyr", ""}, "zephyr"},
        {{"vicuna", ""}, "vicuna"},           {{"alpaca", ""}, "alpaca"},
    };
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        if (has_all(probe, context, vocabularies[i].tokens)) {
            return chat_builtin_find(vocabularies[i].name);
        }
    }
    if (architecture && strcmp(architecture, "phi2") == 0) {
        return chat_builtin_find("phi-2");
    }
    char plain[64];
    plain_name(model_name ? model_name : "", plain);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strstr(plain, names[i].words[0]) && strstr(plain, names[i].words[1])) {
            return chat_builtin_find(names[i].name);
        }
    }
    return NULL;
}
