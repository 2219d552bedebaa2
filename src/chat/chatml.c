/* chatml.c: the template for files that bring none, and of the starter model.
 *
 * ChatML turns (`<|im_start|>role`, the words, `<|im_end|>`) and tools in the Hermes manner. The
 * fixed words are few because small models have short contexts. No system turn is invented. It is
 * plain Jinja2 under trim_blocks and lstrip_blocks, so other programs can render it too.
 */
#include "chat/chat.h"

/* clang-format off */
const char chat_template_chatml[] =
    "{%- macro words(content) %}\n"
    "{%- if content is string %}{{- content }}\n"
    "{%- elif content is iterable and content is not mapping %}\n"
    "{%- for part in content %}{{- part.text if part is mapping else part }}{%- endfor %}\n"
    "{%- endif %}\n"
    "{%- endmacro %}\n"
    "{%- set has_system = messages and messages[0].role == 'system' %}\n"
    "{%- if tools %}\n"
    "    {{- '<|im_start|>system\\n' }}\n"
    "    {%- if has_system %}{{- words(messages[0].content) + '\\n\\n' }}{%- endif %}\n"
    "    {{- 'You may call these tools:\\n<tools>\\n' }}\n"
    "    {%- for tool in tools %}{{- (tool | tojson) + '\\n' }}{%- endfor %}\n"
    "    {{- '</tools>\\nTo call one, answer with "
    "<tool_call>\\n{\"name\": ..., \"arguments\": ...}\\n</tool_call><|im_end|>\\n' }}\n"
    "{%- endif %}\n"
    "{%- for message in messages %}\n"
    "    {%- if message.role == 'system' and loop.first and tools %}\n"
    "    {%- elif message.role == 'tool' %}\n"
    "        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}\n"
    "        {{- '\\n<tool_response>\\n' + words(message.content) + '\\n</tool_response>' }}\n"
    "        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}\n"
    "    {%- else %}\n"
    "        {%- set text = words(message.content) %}\n"
    "        {{- '<|im_start|>' + message.role + '\\n' + text }}\n"
    "        {%- if message.role == 'assistant' %}\n"
    "            {%- for call in message.tool_calls or [] %}\n"
    "                {%- set call = call.function or call %}\n"
    "                {%- if text or not loop.first %}{{- '\\n' }}{%- endif %}\n"
    "                {{- '<tool_call>\\n{\"name\": ' + (call.name | tojson) + ', \"arguments\": ' }}\n"
    "                {{- call.arguments if call.arguments is string else call.arguments | tojson }}\n"
    "                {{- '}\\n</tool_call>' }}\n"
    "            {%- endfor %}\n"
    "        {%- endif %}\n"
    "        {{- '<|im_end|>\\n' }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}\n";
/* clang-format on */
