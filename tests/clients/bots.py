"""What OpenAI's own client makes of bots as models: `bots.py <base> <key> <what>`, the answer as JSON.

The client checks strictly: a field of another type than documented is an error here.
"""

import json
import sys

import openai

base, key, what = sys.argv[1:4]
client = openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, _strict_response_validation=True)

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}


def ask(text="Hello", model="default", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def models():
    listed = client.models.list().data
    one = client.models.retrieve("default:plain")
    return {"listed": sorted(model.id for model in listed), "one": [one.id, one.object, one.owned_by]}


def whole():
    said = ask()
    choice = said.choices[0]
    return [choice.message.content, choice.finish_reason, said.usage.total_tokens, said.object, said.model]


def streamed():
    pieces, reasons, usage = [], [], None
    for chunk in ask(stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reasons.append(choice.finish_reason)
        usage = chunk.usage or usage
    return ["".join(pieces), len([piece for piece in pieces if piece]) > 1, reasons[-1], usage.total_tokens]


def helper():
    """The client's own way to put pieces together."""
    messages = [{"role": "user", "content": "What is the weather?"}]
    with client.chat.completions.stream(model=sys.argv[4], messages=messages, tools=[WEATHER]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    call = message.tool_calls[0].function
    return [message.content, call.name, json.loads(call.arguments)]


def tools():
    """A whole conversation with a tool that runs here."""
    model = sys.argv[4]
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is the weather?"}]
    first = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    choice = first.choices[0]
    calls = choice.message.tool_calls
    messages.append(choice.message.model_dump(exclude_none=True))
    for call in calls:
        town = json.loads(call.function.arguments)["town"]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": f"It rains in {town}."})
    second = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    return [choice.finish_reason, [call.function.name for call in calls], second.choices[0].message.content]


def session():
    place = {"client_id": "openai:alice"}
    first = ask("My name is Alice", metadata=place)
    second = "".join(
        choice.delta.content or "" for chunk in ask("What is my name?", metadata=place, stream=True) for choice in chunk.choices
    )
    return [first.choices[0].message.content, second]


def placed():
    """An answer in a session, as it comes."""
    pieces, reasons, usage = [], [], None
    place = {"client_id": sys.argv[4]}
    for chunk in ask("Count", metadata=place, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reasons.append(choice.finish_reason)
        usage = chunk.usage or usage
    cached = usage.prompt_tokens_details.cached_tokens
    return ["".join(pieces), len([piece for piece in pieces if piece]) > 1, reasons[-1], usage.total_tokens, cached]


SCHEMA = {"type": "json_schema", "json_schema": {"name": "town", "schema": {"type": "object"}}}


def shaped():
    place = {"metadata": {"client_id": sys.argv[4]}} if sys.argv[4] else {}
    said = [
        ask(temperature=0.25, max_tokens=50, stop="END", **place),
        ask(response_format={"type": "json_object"}, tool_choice="auto", n=1, **place),
        ask(response_format=SCHEMA, max_completion_tokens=60, **place),
    ]
    return [one.choices[0].message.content for one in said]


def forced():
    first = ask(tools=[WEATHER], tool_choice="required").choices[0]
    second = ask(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}}).choices[0]
    return [choice.message.tool_calls[0].function.name for choice in (first, second)] + [second.finish_reason]


def unable():
    """What cannot be had, by the name of the parameter and why."""
    named = {"type": "function", "function": {"name": "nothing"}}
    place = {"client_id": "openai:dave"}
    ways = {
        "n": {"n": 2},
        "stop": {"stop": ["a", "b", "c", "d", "e"]},
        "logprobs": {"logprobs": True},
        "temperature": {"temperature": 3},
        "max_tokens": {"max_tokens": 0},
        "max_completion_tokens": {"max_completion_tokens": 0},
        "stream_options": {"stream_options": {"include_usage": True}},
        "response_format.type of another kind": {"response_format": {"type": "xml"}},
        "response_format.json_schema without a schema": {"response_format": {"type": "json_schema", "json_schema": {}}},
        "tool_choice of a tool that is not there": {"tools": [WEATHER], "tool_choice": named},
        "tool_choice without tools": {"tool_choice": "required"},
        "tools in a session": {"tools": [WEATHER], "metadata": place},
    }
    return {name: raised(lambda more=more: ask(**more)) for name, more in ways.items()}


def as_json():
    return raised(lambda: ask(model=sys.argv[4], response_format={"type": "json_object"}))


def picture():
    shown = {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlhAQABAAAAACw="}}
    return ask([{"type": "text", "text": "What is it?"}, shown]).choices[0].message.content


def failure():
    """What each way of asking raises: class, status, code and message."""
    ways = {
        "unknown": lambda: ask(model="nobody"),
        "wrong key": lambda: client.with_options(api_key="wrong").models.list(),
        "many": lambda: ask(n=2),
        "image": lambda: ask([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]),
    }
    return {name: raised(way) for name, way in ways.items()}


def refused():
    return {"whole": raised(ask), "streamed": raised(lambda: list(ask(stream=True)))}


def raised(way):
    try:
        return ["nothing", str(way())]
    except openai.APIError as error:
        return [type(error).__name__, getattr(error, "status_code", None), error.code, error.message, error.param]


print(json.dumps(globals()[what]()))
