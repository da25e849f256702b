"""Small templates, one construct each, that the interpreter must treat as Python's jinja2 does."""

VARIABLES = {
    "n": 7,
    "f": 2.5,
    "big": 12345678901234567890123,
    "s": "Hello World",
    "u": "naïve 世界 😀!",
    "empty": "",
    "blank": "  \t padded \n ",
    "html": "<b>\"a\" & 'b'</b>",
    "template": "{{ 7*7 }} {% if x %}",
    "t": True,
    "no": False,
    "nothing": None,
    "list": [3, 1, 2],
    "words": ["pear", "Apple", "fig", "apple"],
    "nested": [[1, 2], [3, [4, 5]], []],
    "d": {"b": 1, "a": {"x": [1, 2.0, None, True]}, "items": "key named items", "C": "ü"},
    "people": [
        {"name": "Ann", "age": 30, "tags": ["x"], "address": {"city": "Rome"}},
        {"name": "bob", "age": 25, "address": {"city": "Oslo"}},
        {"name": "Cid", "age": 30, "tags": []},
    ],
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"},
                 {"role": "assistant", "content": "A"}, {"role": "user", "content": "U2"}],
}

PROBES = r'''
plain text
{{ s }}
{{ missing }}
{{ missing.attr }}
{{ missing[0] }}
{{ d.missing }}
{{ d.missing.deeper }}
{{ nothing }}|{{ t }}|{{ no }}|{{ f }}|{{ n }}|{{ big }}
{{ list }}|{{ words }}|{{ nested }}|{{ d }}
{{ (1,) }}|{{ (1, 'a') }}|{{ () }}
{{ "a'b" }}|{{ ["a'b", 'a"b', "both'\""] }}
{{ ["tab\t", "nl\n", "\u200b", "é", "😀", "\x7f"] }}
{{ 'a\tb\\n\x41\u00e9\101\q' }}
{{ 'one' 'two' "three" }}
{{ 1 + 2 * 3 - 4 }}|{{ (1 + 2) * 3 }}|{{ 7 / 2 }}|{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 % 3 }}|{{ -7 % 3 }}
{{ 2 ** 10 }}|{{ 2 ** -1 }}|{{ 2 ** 3 ** 2 }}|{{ 10 ** 20 }}
{{ 4 / 2 }}|{{ 1 / 3 }}|{{ 1e20 }}|{{ 1.5e-7 }}|{{ 123456789.123 }}|{{ 1e16 }}|{{ 1e15 }}|{{ 0.1 + 0.2 }}
{{ 7.5 // 2 }}|{{ -7.5 % 2 }}|{{ 1_000 }}|{{ 0x1F }}|{{ 0b101 }}|{{ 0o17 }}
{{ -n }}|{{ +n }}|{{ --n }}|{{ -f }}|{{ -t }}
{{ -1|abs }}|{{ -n|abs }}|{{ (-n)|abs }}
{{ 1/0 }}
{{ 1 % 0 }}
{{ 'a' + 1 }}
{{ 'a' + 'b' }}|{{ 'ab' * 3 }}|{{ 3 * 'ab' }}|{{ [1] * 2 }}|{{ [1] + [2] }}|{{ (1,) + (2,) }}
{{ [1] + (2,) }}
{{ nothing + 'a' }}
{{ missing + 'a' }}
{{ 'a' ~ 1 ~ none ~ true ~ missing ~ [1] }}
{{ t + 1 }}|{{ t * 3 }}|{{ true == 1 }}|{{ 1 == 1.0 }}|{{ '1' == 1 }}
{{ 1 < 2 < 3 }}|{{ 1 < 3 < 2 }}|{{ 3 > 2 >= 2 }}|{{ 1 == 1 != 2 }}
{{ 'a' < 'b' }}|{{ 'Z' < 'a' }}|{{ [1, 2] < [1, 3] }}|{{ (1,) < (1, 0) }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ list == [3, 1, 2] }}|{{ d == {} }}|{{ {'a': 1} == {'a': 1.0} }}|{{ [1] == (1,) }}
{{ missing == missing }}|{{ missing == none }}|{{ missing == '' }}|{{ missing != 1 }}
{{ 1 in list }}|{{ 9 not in list }}|{{ 'ell' in s }}|{{ 'a' in d }}|{{ 'z' in d }}|{{ '' in s }}
{{ 1 in s }}
{{ 1 in 5 }}
{{ 'a' in none }}
{{ 'a' in missing }}|{{ missing in [1] }}
{{ not t }}|{{ not missing }}|{{ not not 'x' }}|{{ not 1 == 2 }}
{{ t and no }}|{{ t and 'x' }}|{{ no or 'y' }}|{{ '' or none }}|{{ missing or 'z' }}|{{ 0 or [] or {} }}
{{ 'yes' if t else 'no' }}|{{ 'yes' if no }}|{{ 'a' if no else 'b' if no else 'c' }}
{{ 'x' if missing is defined else 'gone' }}
{{ s[0] }}|{{ s[-1] }}|{{ s[100] }}|{{ u[6] }}|{{ u[9] }}|{{ u[-2] }}
{{ s[1:3] }}|{{ s[:3] }}|{{ s[-3:] }}|{{ s[::-1] }}|{{ s[::2] }}|{{ s[8:2:-2] }}|{{ u[6:10] }}|{{ u[::-1] }}
{{ list[0] }}|{{ list[-1] }}|{{ list[5] }}|{{ list[1:] }}|{{ list[::-1] }}|{{ list[:-1] }}|{{ list[5:] }}|{{ list[-9:9] }}
{{ messages[1:][0].role }}|{{ messages[-1]['content'] }}|{{ messages[::-1][0].content }}|{{ messages | length }}
{{ list[::0] }}
{{ list['a'] }}|{{ list.foo }}|{{ n.foo }}|{{ nothing.foo }}|{{ s.foo }}
{{ d.a.x }}|{{ d['a']['x'][3] }}|{{ d.b }}|{{ d['b'] }}|{{ d.get('b') }}|{{ d.get('z') }}|{{ d.get('z', 5) }}
{{ d['items'] }}|{{ d.items is callable }}|{{ d['keys'] is callable }}
{{ d.keys() }}|{{ d.values() | list }}|{{ d.items() | list | length }}
{{ {'a': 1}.items() }}|{{ {'a': 1}.values() }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }},{% endfor %}
{% for k, v in d | items %}{{ k }},{% endfor %}
{% for k, v in d | dictsort %}{{ k }},{% endfor %}
{% for k, v in d | dictsort(case_sensitive=true) %}{{ k }},{% endfor %}
{% for k, v in d | dictsort(reverse=true) %}{{ k }},{% endfor %}
{{ {'a': 3, 'b': 1} | dictsort(by='value') }}
{{ list.0 }}|{{ nested.1.1.0 }}
{{ d.items()[0] }}
{{ messages.__class__ }}|{{ s.__class__ }}|{{ ''.__class__ is defined }}
{{ messages.__class__.__mro__ }}
{{ ''.__class__.__mro__[1].__subclasses__() }}
{{ messages.append(1) }}
{{ d.update({'z': 1}) }}
{{ d.pop('a') }}
{{ list.sort() }}
{{ list.index(1) }}|{{ list.count(1) }}|{{ words.index('fig') }}
{{ list.index(99) }}
{{ range(5) | list }}|{{ range(1, 4) | list }}|{{ range(5, 0, -2) | list }}|{{ range(3) }}|{{ range(0) | list }}
{{ range(1000000) }}
{{ range(3)[1] }}|{{ range(10)[2:4] | list }}
{{ dict(a=1, b=2) }}|{{ dict({'x': 1}, y=2) }}|{{ dict([('k', 'v')]) }}
{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}
{% set a, b = 1, [2] %}{{ a }}{{ b }}
{% set a, b = 1 %}
{% set a, b = [1, 2, 3] %}
{% set x %}block {{ n }}{% endset %}[{{ x }}]
{% set x | upper | replace('B', 'P') %}block{% endset %}[{{ x }}]
{% set ns = namespace(x=1) %}{% for i in list %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}|{{ ns.y }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}
{% set d.x = 1 %}
{% set x = 0 %}{% for i in list %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}
{% if t %}{% set y = 5 %}{% endif %}{{ y }}
{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}
{% if no %}a{% elif no %}b{% else %}c{% endif %}
{% if missing %}a{% endif %}b
{% for i in list %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }};{% endfor %}
{% for i in list %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }};{% endfor %}
{% for i in list %}{{ loop.previtem is defined }},{{ loop.nextitem is defined }};{% endfor %}
{% for i in list %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}
{% for i in list if i > 1 %}{{ i }}:{{ loop.index }}/{{ loop.length }}/{{ loop.last }};{% endfor %}
{% for i in [] %}x{% else %}empty{% endfor %}
{% for i in list if i > 9 %}x{% else %}none{% endfor %}
{% for i in missing %}x{% else %}undefined{% endfor %}
{% for i in none %}x{% endfor %}
{% for i in 5 %}x{% endfor %}
{% for c in 'aé😀' %}[{{ c }}]{% endfor %}
{% for i in list %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}
{% for i in list %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% else %}never{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }},{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{% endfor %}
{% for i in nested recursive %}[{% if i is iterable %}{{ loop(i) }}{% else %}{{ i }}@{{ loop.depth }}{% endif %}]{% endfor %}
{% for i in list %}{% set outer = loop %}{% for j in [1] %}{{ outer.index }}{% endfor %}{% endfor %}
{% for m in messages | selectattr('role', 'equalto', 'user') %}{{ m.content }},{% endfor %}
{% macro m(a, b=2) %}{{ a }}-{{ b }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, z=3) }}
{% macro m(a) %}<{{ a }}>{% endmacro %}{% set r = m('x') | upper %}{{ r ~ m.name }}
{% macro fact(n) %}{% if n <= 1 %}1{% else %}{{ n * fact(n - 1) | int }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body {{ n }}{% endcall %}
{% macro m() %}{% for i in list %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) m() %}<{{ x }}>{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}unused{% endcall %}
{% set g = 'global' %}{% macro m() %}{{ g }}{% endmacro %}{% set g = 'later' %}{{ m() }}
{% for i in [1] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}
{% macro m(*args) %}{% endmacro %}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% filter upper %}shout {{ s }}{% endfilter %}
{% filter trim | replace('a', 'b') %}  aaa {% endfilter %}
{% raw %}{{ not rendered }} {% if %}{% endraw %}
{%- raw -%}  {{ x }}  {%- endraw -%}  y
{# a comment {{ n }} #}after
a {#- comment -#} b
{% generation %}inner {% set gx = 1 %}{{ gx }}{% endgeneration %}[{{ gx }}]
{{ raise_exception('no ' ~ n) }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %B %a %A %y %j %p %I %-d %%') }}
{{ blank | trim }}|{{ 'xxaxx' | trim('x') }}|{{ none | trim }}|{{ missing | trim }}|{{ 5 | trim }}
{{ s | upper }}|{{ s | lower }}|{{ 'hELLO wORLD' | capitalize }}|{{ "hello-world (foo) it's" | title }}|{{ 'straße' | upper }}
{{ "hello-world it's 3rd".title() }}|{{ 'ß'.title() }}|{{ 'ab cd'.capitalize() }}|{{ 'aBc'.swapcase() }}
{{ s | length }}|{{ u | length }}|{{ list | count }}|{{ d | length }}|{{ missing | length }}|{{ range(5) | length }}
{{ 5 | length }}
{{ none | length }}
{{ missing | default('x') }}|{{ none | default('x') }}|{{ none | default('x', true) }}|{{ '' | d('y', boolean=true) }}|{{ d.q.r | default('z') }}
{{ d.q | default('z') }}|{{ missing | default }}|{{ 0 | default(5, true) }}
{{ list | join }}|{{ list | join(', ') }}|{{ people | join('+', attribute='name') }}|{{ s | join('-') }}|{{ [none, true, 1.0] | join(',') }}
{{ list | first }}|{{ list | last }}|{{ [] | first }}|{{ s | first }}|{{ s | last }}|{{ missing | first }}|{{ d | first }}
{{ (list | map('string')) | last }}
{{ list | sort }}|{{ words | sort }}|{{ words | sort(case_sensitive=true) }}|{{ list | sort(reverse=true) }}|{{ people | sort(attribute='age') | map(attribute='name') | list }}
{{ people | sort(attribute='age,name') | map(attribute='name') | list }}
{{ [1, 'a'] | sort }}
{{ list | reverse | list }}|{{ s | reverse }}
{{ words | unique | list }}|{{ [1, 2, 1, 1.0] | unique | list }}|{{ words | unique(case_sensitive=true) | list }}
{{ [[1], [1]] | unique | list }}
{{ people | map(attribute='name') | list }}|{{ people | map(attribute='address.city') | list }}|{{ people | map(attribute='tags', default='none') | list }}
{{ words | map('upper') | list }}|{{ words | map('replace', 'p', 'b') | join(' ') }}|{{ list | map('string') | list }}
{{ words | map('nofilter') | list }}
{{ words | map | list }}
{{ list | select('odd') | list }}|{{ list | reject('odd') | list }}|{{ [0, 1, '', 'x', none] | select | list }}|{{ list | select('>', 1) | list }}|{{ list | select('in', [1, 2]) | list }}
{{ people | selectattr('age', 'equalto', 30) | map(attribute='name') | list }}|{{ people | selectattr('tags') | map(attribute='name') | list }}|{{ people | rejectattr('tags', 'defined') | map(attribute='name') | list }}
{{ people | selectattr('address.city', '==', 'Oslo') | map(attribute='name') | list }}
{{ people | selectattr('age', 'nosuchtest') | list }}
{{ none | selectattr('x') | list }}|{{ none | map('upper') | list }}|{{ none | reject | list }}|{{ none | selectattr | list }}
{{ people | selectattr | list }}
{{ list | select('odd') | length }}
{{ (list | select('odd'))[0] }}|{% if list | select('odd') %}yes{% endif %}
{% set g = list | select('odd') %}{{ g | list }}{{ g | list }}
{{ list | sum }}|{{ people | sum(attribute='age') }}|{{ [[1], [2]] | sum(start=[]) }}|{{ list | min }}|{{ list | max }}|{{ words | min }}|{{ [] | max }}
{{ words | sum }}
{{ list | batch(2) | list }}|{{ list | batch(2, 'x') | list }}|{{ list | slice(2) | list }}|{{ list | slice(2, 'x') | list }}
{{ people | groupby('age') | map(attribute=0) | list }}
{% for age, group in people | groupby('age') %}{{ age }}:{{ group | map(attribute='name') | join(',') }};{% endfor %}
{{ '42' | int }}|{{ '42.9' | int }}|{{ 'x' | int }}|{{ 'x' | int(7) }}|{{ '0x1f' | int(base=16) }}|{{ 3.99 | int }}|{{ -3.99 | int }}|{{ true | int }}|{{ none | int }}|{{ ' 12 ' | int }}
{{ missing | int }}
{{ '1.5' | float }}|{{ 'x' | float }}|{{ 2 | float }}|{{ '1e3' | float }}|{{ none | float(9) }}
{{ 2.5 | round }}|{{ 3.5 | round }}|{{ 2.675 | round(2) }}|{{ 1234.5 | round(-2) }}|{{ 2.1 | round(method='ceil') }}|{{ 2.9 | round(0, 'floor') }}|{{ 7 | round }}|{{ 2.15 | round(1) }}
{{ 2 | round(1, 'up') }}
{{ -5 | abs }}|{{ -2.5 | abs }}|{{ 'x' | abs }}
{{ 5 | string }}|{{ none | string }}|{{ [1] | string }}|{{ 1.0 | string }}|{{ missing | string }}
{{ 'abc' | list }}|{{ d | list }}|{{ missing | list }}|{{ (1, 2) | list }}
{{ none | list }}
{{ 'a-b-c' | replace('-', '+') }}|{{ 'a-b-c' | replace('-', '+', 1) }}|{{ 5 | replace(5, 6) }}|{{ 'ab' | replace('', '.') }}
{{ 'line1\nline2\n\nline4' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('> ') }}|{{ 'a\n' | indent }}
{{ 5 | indent }}
{{ ('<'|safe) + '<' ~ '<' }}|{{ '<' + ('>' | e) }}|{% set m = '<' | safe %}{{ m + '>' }}|{{ m ~ '>' }}|{{ m | e }}|{{ m | length }}
{{ html | e }}|{{ html | escape | safe }}|{{ html | safe }}|{{ html }}
{{ template }}|{{ template | upper }}
{{ d | tojson }}|{{ html | tojson }}|{{ u | tojson }}|{{ none | tojson }}|{{ [1, 2.0, true, 'a\n\t"\\/'] | tojson }}|{{ (1, 2) | tojson }}|{{ {} | tojson }}|{{ [] | tojson }}
{{ d | tojson(indent=2) }}|{{ [] | tojson(indent=2) }}|{{ {'a': []} | tojson(indent=4) }}|{{ [1] | tojson(indent='--') }}
{{ u | tojson(ensure_ascii=true) }}|{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}|{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }}
{{ {1: 'int', 2.5: 'float', none: 'none', true: 'bool'} | tojson }}
{{ missing | tojson }}
{{ range(3) | tojson }}
{{ d.items() | tojson }}
{{ '\x00\x1f\x7f\u2028' | tojson }}
{{ 1e100 | tojson }}|{{ 1.0 | tojson }}|{{ big | tojson }}
{{ '%s and %d and %.2f%%' | format('x', 5, 1.239) }}|{{ '%(a)s' | format(a=1) }}|{{ '%5s|%-5s|%05d' % ('a', 'b', 42) }}|{{ '%x' % 255 }}
{{ '%s' | format }}
{{ '{} {1} {name}'.format('a', 'b', name='c') }}
{{ '{} {}'.format('a', 'b') }}|{{ '{1}{0}{n}'.format('a', 'b', n=1) }}|{{ '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}'.format('a', 'b', 'c', 42, 1.239, 1234567) }}|{{ '{{}}'.format() }}|{{ '{!r}'.format('a') }}
{{ s | truncate(5) }}|{{ 'a very long sentence indeed' | truncate(15) }}|{{ 'a very long sentence indeed' | truncate(15, true, '!') }}
{{ s | wordcount }}|{{ 'ab' | center(6) }}|
{{ s | nosuchfilter }}
{% if no %}{{ s | nosuchfilter }}{% endif %}ok
{{ s is nosuchtest }}
{{ s is string }}|{{ n is string }}|{{ n is number }}|{{ f is number }}|{{ t is number }}|{{ n is integer }}|{{ t is integer }}|{{ f is float }}|{{ f is integer }}
{{ t is boolean }}|{{ n is boolean }}|{{ t is true }}|{{ no is false }}|{{ 1 is true }}|{{ nothing is none }}|{{ missing is none }}|{{ missing is undefined }}|{{ nothing is defined }}
{{ d is mapping }}|{{ list is mapping }}|{{ list is sequence }}|{{ s is sequence }}|{{ d is sequence }}|{{ n is sequence }}|{{ list is iterable }}|{{ s is iterable }}|{{ n is iterable }}|{{ missing is iterable }}|{{ nothing is iterable }}
{{ n is odd }}|{{ n is even }}|{{ n is divisibleby 7 }}|{{ n is divisibleby(2) }}|{{ n is eq 7 }}|{{ n is not eq 7 }}|{{ n is ne 8 }}|{{ n is lt 8 }}|{{ n is ge(8) }}|{{ n is greaterthan 3 }}
{{ 'a' is in ['a'] }}|{{ 'a' is in 'abc' }}|{{ n is sameas n }}|{{ none is sameas none }}|{{ 'ABC' is upper }}|{{ 'abc' is lower }}|{{ 'aBc' is lower }}|{{ '1' is upper }}|{{ range is callable }}|{{ 'upper' is filter }}|{{ 'odd' is test }}
{{ n is defined and s is string or no }}|{{ not missing is defined }}|{{ missing is not defined }}
{{ '  x '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ '\n<think>\n'.strip('\n') }}
{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a b c'.split(none, 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ ''.split(',') }}|{{ ''.split() }}|{{ ' a b c '.rsplit(maxsplit=1) }}
{{ ' a  b c '.split(none, 1) }}|{{ 'ﬁx'.title() }}|{{ {1: 'a'}[true] }}|{{ {true: 'a'} }}|{{ 0 in {false: 1} }}
{{ 'a'.split('') }}
{{ 'x</think>y'.split('</think>')[-1].lstrip('\n') }}|{{ 'x</think>y'.split('</think>')[0].split('<think>')[-1] }}
{{ 'a\nb\r\nc\x0bd'.splitlines() }}|{{ 'a\nb\n'.splitlines(true) }}
{{ s.startswith('He') }}|{{ s.endswith('ld') }}|{{ s.startswith(('x', 'H')) }}|{{ s.startswith('W', 6) }}|{{ s.endswith('') }}
{{ s.startswith(1) }}
{{ s.find('o') }}|{{ s.rfind('o') }}|{{ s.find('z') }}|{{ s.index('W') }}|{{ s.count('l') }}|{{ u.find('😀') }}|{{ u.find('!') }}|{{ s.find('o', 5) }}
{{ s.index('z') }}
{{ s.replace('l', 'L') }}|{{ s.replace('l', 'L', 1) }}|{{ s.upper() }}|{{ s.lower() }}|{{ ','.join(['a', 'b']) }}|{{ s.removeprefix('Hello ') }}|{{ s.removesuffix('World') }}
{{ ','.join([1]) }}
{{ 'a=b=c'.partition('=') }}|{{ 'a=b=c'.rpartition('=') }}|{{ 'abc'.partition('x') }}
{{ '5'.zfill(3) }}|{{ '-5'.zfill(4) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}|{{ 'ab'.center(5, '*') }}
{{ '12'.isdigit() }}|{{ 'a1'.isalnum() }}|{{ 'ab'.isalpha() }}|{{ ' '.isspace() }}|{{ ''.isdigit() }}|{{ 'AB'.isupper() }}|{{ 'Ab Cd'.istitle() }}|{{ '²'.isdigit() }}|{{ '½'.isnumeric() }}
{{ s.strip(1) }}
{{ s.nosuchmethod() }}
{{ n() }}
{{ missing() }}
{{ s.upper(1) }}
{{ cycler('a', 'b').next() }}{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{% set j = joiner('|') %}{% for i in list %}{{ j() }}{{ i }}{% endfor %}
{{ d | attr('a') }}|{{ s | attr('upper') is callable }}
{{ [1, 2, 3,] }}|{{ {'a': 1,} }}|{{ (1,)[0] }}|{{ {'a': {'b': 1}}.a.b }}|{{ {'x':{}}}}
{{ {1: 'a', 1.0: 'b'} }}|{{ {'a': 1, 'a': 2} }}
{{ {[1]: 2} }}
{{ {(1, 2): 3}[(1, 2)] }}|{{ {(1, 2): 3} }}
{{ n | string | length + 1 }}|{{ 'a' ~ 'b' | upper }}|{{ 1 ~ 2 + 3 }}
{{ 1 + 2 ~ 3 }}|{{ 'a' 'b' ~ 'c' }}|{{ 2 * 3 ~ 4 }}|{{ n == 7 and 'seven' }}
{{ range(3) | map('string') | join }}|{{ s.split()[0] | upper | lower }}
{{ people[0]['name'][0] }}|{{ people[0].tags[0] }}|{{ (people | first).name }}|{{ people[-1].name }}
{%- if t -%}  a  {%- endif -%}  b
a {%- if t %} b {% endif -%} c
{{ n -}}   x
{{- n }}{{+ n }}
{% if t %}
{{ '}}' }}|{{ "%}" }}|{{ '{{' }}
{% if "%}" == '%}' %}x{% endif %}
{{ n
{% if t %}
{% for %}{% endfor %}
{% unknown %}
{{ 1 + }}
{{ (1, 2 }}
{{ 'open }}
{% if t %}{% endfor %}
{{ a b }}
{% set true = 1 %}
{% set 1 = 2 %}
{% else %}
{% break %}
{{ x | }}
{{ x is }}
{{ x. }}
{{ [1, 2 }}
{# open
{% raw %}open
{{ f(a=1, 2) }}
{{ @ }}
{{ none.x }}|{{ nothing.x.y }}
{{ loop is defined }}
{{ messages[0].role == 'system' and messages[0].content or 'default' }}
{{ messages | map(attribute='role') | join(',') }}|{{ messages | selectattr('role', 'ne', 'system') | list | length }}
{% for message in messages[1:] %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}{{ message.role }},{% endfor %}
{{ '<|' ~ s ~ '|>' ~ '\n' }}{{ "a" + "\n\n" + 'b' }}
{{ "äöü".upper() }}|{{ 'İ'.lower() | length }}|{{ 'ΑΣ'.lower() }}|{{ 'ﬁ'.upper() }}
{{ 5 is divisibleby 0 }}
{{ 'x' is odd }}
{{ '' if true }}
{{ 1 if 1 is defined if true }}
{{ 1.0 == 1 }}|{{ 1.5 | int }}|{{ 10 // 3.0 }}|{{ 10 % 3.5 }}|{{ 1e3 | int }}
{{ ['a', 'b'] | join(n) }}|{{ [[1, 2], [3]] | map('join', '-') | list }}|{{ [[1, 2], [3]] | map('length') | list }}|{{ [3, 4] | map('first') | list }}
{{ s[:'a'] }}
{{ s[1.0] }}|{{ list[true] }}|{{ list[1.0] }}
{{ '' is string }}|{{ '' is defined }}|{{ [] is defined }}|{{ {} is mapping }}
{{ 'a' if '' else 'b' }}|{{ 'a' if [] else 'b' }}|{{ 'a' if 0.0 else 'b' }}|{{ 'a' if '0' else 'b' }}
'''

# A probe is one line, except for those below, which are about white space between lines.
_LINES = PROBES.strip("\n").split("\n")
_MULTILINE = [
    "  {% if t %}\n  x\n  {% endif %}\n  y\n",
    "  {%+ if t %}x{% endif +%}\n  {% if t %}x{% endif %}   \n    {{ n }}\n",
    "{% if t %}\n\n  x\n\n{% endif %}\n\nz",
    "a\n  {# comment #}\n  z\n",
    "a\n  {#- comment #}\n  b\n",
    "a  {# comment -#}  \n  b\n",
    "{%- set x = 1 -%}\n\n  {{- x }}\n",
    "{{\n  n\n}}\n",
    "{{ 'multi\nline' }}\n\n",
    "{% for i in list %}\n{{ i }}\n{% endfor %}\n",
    "{% for i in list -%}\n  {{ i }}\n{%- endfor %}\nend",
    "{% for i in list %}\n  {{ i }}\n  {% if i == 1 %}\n  one\n  {%- endif %}\n\n{% endfor %}\n",
    "text \t{% if t %}x{% endif %}\n",
    "\t {% set x = 2 %} {{ x }}\n",
    "x{% if t %}\r\ny\r\n{% endif %}\rz\r\n",
    "{% raw %}\n  {{ x }}\n  {% endraw %}\n  y",
    "{% set x %}\n  a\n{% endset %}\n[{{ x }}]",
    "{% macro m() %}\n  body\n{% endmacro %}\n[{{ m() }}]",
    "{% macro m() -%}\n  body\n{%- endmacro %}\n[{{ m() }}]",
    "{% if t -%}\n   a\n{%- else -%}\n   b\n{%- endif %}\n",
    "\n\n{{ n }}\n\n",
    "{{ n }}\n",
    "{% if t %}{{ n }}{% endif %}\n",
    "a\u00a0{%- if t %}b{% endif %}",
    "  {{ n }}  \n  {{- n }}  ",
    "{#\n multi\n line #}\nx",
    "{%\n if\n t\n %}x{% endif %}",
    "{{ d | tojson(indent=4) }}\n{{ n }}",
    "",
    "\n",
    "   ",
]
PROBES = _LINES + _MULTILINE
