"""Chats that every template is rendered with. Plain data; `make_golden.py` writes it to chats.json."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather at a place. Prices < 5 € & \"quotes\" stay as they are.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city, e.g. 北京 or Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "default": 1},
            },
            "required": ["city"],
        },
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers",
        "parameters": {
            "type": "object",
            "properties": {
                "a": {"type": "number", "description": "first"},
                "b": {"type": "number", "description": "second"},
                "options": {
                    "type": "object",
                    "properties": {"round": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}}},
                },
            },
            "required": ["a", "b"],
        },
    },
}

S = {"role": "system", "content": "You are a terse assistant."}
U1 = {"role": "user", "content": "Why is the sky blue?"}
A1 = {"role": "assistant", "content": "Rayleigh scattering."}
U2 = {"role": "user", "content": "And at sunset?"}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "call00001", "name": "get_weather", "arguments": {"city": "Zürich", "unit": "celsius", "days": 2}}]}
CALLS = {"role": "assistant", "content": "I look both up.", "tool_calls": [
    {"id": "call00001", "name": "get_weather", "arguments": {"city": "北京"}},
    {"id": "call00002", "name": "add", "arguments": {"a": 1.5, "b": -2, "options": {"round": True, "tags": []}}}]}
RESULT = {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": "{\"temp\": 21.5, \"sky\": \"klar\"}"}
RESULT2 = {"role": "tool", "tool_call_id": "call00002", "name": "add", "content": "-0.5"}
UT = {"role": "user", "content": "What is the weather in Zürich?"}

CHATS = [
    {"name": "user", "messages": [U1], "generation": True},
    {"name": "user_no_prompt", "messages": [U1], "generation": False},
    {"name": "system_user", "messages": [S, U1], "generation": True},
    {"name": "multi_turn", "messages": [S, U1, A1, U2], "generation": True},
    {"name": "ends_with_assistant", "messages": [U1, A1], "generation": False},
    {"name": "unicode", "messages": [
        {"role": "user", "content": "  你好，世界！ 😀 \u200b naïve café\n\n\ttabs and trailing blanks  \n"},
        {"role": "assistant", "content": "👩‍👩‍👧 ok\r\nnext"},
        {"role": "user", "content": "عربى हिन्दी 𝒳"}], "generation": True},
    {"name": "looks_like_a_template", "messages": [
        {"role": "system", "content": "{% raw %}{{ 1 }}{% endraw %}"},
        {"role": "user", "content": "{{ 7*7 }} {% if true %}x{% endif %} {# c #} <|im_end|> <b>&amp;</b> \"q\" 'q' \\n"}],
     "generation": True},
    {"name": "tools", "messages": [S, UT], "tools": [WEATHER, ADD], "generation": True},
    {"name": "tools_no_system", "messages": [UT], "tools": [WEATHER], "generation": True},
    {"name": "tool_call_and_result", "messages": [UT, CALL, RESULT], "tools": [WEATHER], "generation": True},
    {"name": "two_calls_then_talk", "messages": [
        S, UT, CALLS, RESULT, RESULT2, {"role": "assistant", "content": "21.5 °C and -0.5."}, U2],
     "tools": [WEATHER, ADD], "generation": True},
    {"name": "call_without_tools", "messages": [UT, CALL, RESULT, {"role": "assistant", "content": "21.5 °C"}],
     "generation": False},
    {"name": "reasoning", "messages": [
        U1, {"role": "assistant", "content": "Blue.", "reasoning_content": "Think of scattering.\n"}, U2,
        {"role": "assistant", "content": "<think>\nmore\n</think>\n\nRed."}, U1], "generation": True},
    {"name": "thinking_off", "messages": [U1], "generation": True, "extra": {"enable_thinking": False}},
    {"name": "thinking_on", "messages": [S, U1], "generation": True, "extra": {"enable_thinking": True, "thinking": True}},
    {"name": "two_users", "messages": [U1, U2], "generation": True},
    {"name": "starts_with_assistant", "messages": [A1, U1], "generation": True},
    {"name": "unknown_role", "messages": [{"role": "critic", "content": "Hm."}, U1], "generation": True},
    {"name": "empty_texts", "messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
     "generation": True},
    {"name": "system_twice", "messages": [S, U1, A1, S, U2], "generation": True},
]
