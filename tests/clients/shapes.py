"""Whether the fakes of the tests answer as the real providers do: `shapes.py openai|anthropic <base> <key>`.

Each provider's own client checks every answer strictly. A fake that passes here is a fair stand-in.
"""

import json
import sys

import anthropic
import openai

which, base, key = sys.argv[1:4]
TOOL = {"type": "object", "properties": {"town": {"type": "string"}}}


def of_openai():
    client = openai.OpenAI(base_url=base, api_key=key, max_retries=0, _strict_response_validation=True)
    asked = {"model": "scripted-1", "messages": [{"role": "user", "content": "Hello"}]}
    whole = client.chat.completions.create(**asked)
    pieces = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    called = client.chat.completions.create(**asked)
    text = "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices)
    return {
        "whole": whole.choices[0].message.content,
        "streamed": text,
        "called": called.choices[0].message.tool_calls[0].function.name,
        "models": [model.id for model in client.models.list().data],
        "errors": [raised(client.chat.completions.create, openai.APIStatusError, asked) for _ in range(2)],
    }


def of_anthropic():
    client = anthropic.Anthropic(base_url=base, api_key=key, max_retries=0, _strict_response_validation=True)
    asked = {"model": "claude-scripted-1", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        text = stream.get_final_text()
    tools = [{"name": "weather", "description": "The weather", "input_schema": TOOL}]
    with client.messages.stream(**asked, tools=tools) as stream:
        called = stream.get_final_message()
    block = next(block for block in called.content if block.type == "tool_use")
    return {
        "whole": whole.content[0].text,
        "streamed": text,
        "called": [called.stop_reason, block.name, block.input],
        "cached": called.usage.cache_read_input_tokens,
        "models": [model.id for model in client.models.list().data],
        "errors": [raised(client.messages.create, anthropic.APIStatusError, asked) for _ in range(3)],
        "wrong key": raised(
            client.with_options(api_key="wrong").messages.create, anthropic.APIStatusError, asked
        ),
    }


def raised(ask, kind, asked):
    try:
        ask(**asked)
    except kind as error:
        return [type(error).__name__, error.status_code]


print(json.dumps(of_openai() if which == "openai" else of_anthropic()))
