package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.InvalidRequestException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Templates that mean harm end with an exception. The bounds are counts of steps and characters, so
 * that these tests fail by memory or by never ending, not by a slow machine.
 */
class HostileTemplateTest {

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% set x = range(99999) | list %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% macro m(n) %}{% for i in range(10) %}{{ m(n + 1) }}{% endfor %}{% endmacro %}{{ m(0)"
            + " }}",
        "{{ 'a' * 10**9 }}",
        "{{ 'a' * 10**18 }}",
        "{{ ('a' * 3000000) * 3000000 }}",
        "{{ [1] * 10**9 }}",
        "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s"
            + " %}{% endfor %}",
        "{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s"
            + " %}{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}"
            + "{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}"
            + "{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}"
            + "{% endfor %}{{ ns.l | tojson }}",
        "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l]"
            + " %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor"
            + " %}{{ ns.l | tojson }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + [ns.l] %}"
            + "{% endfor %}",
        "{% set s = 'a' * 100000 %}{% for i in range(99999) %}{% set x = s.replace('a', s) %}"
            + "{% endfor %}",
        "{{ ('a' * 1000000).replace('', 'b' * 1000) }}",
        "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}",
        "{% set s = 'x\\n' * 100000 %}{{ s | indent(100000) }}",
        "{{ 'x' | center(10**12) }}",
        "{{ 'x'.ljust(10**12) }}",
        "{{ '%1000000000s' % 'x' }}",
        "{{ '{:1000000000}'.format('x') }}",
        "{{ [1] | tojson(indent=10**9) }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ (10 ** 1000) ** 1000 }}",
        "{% set ns = namespace(n=9) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor"
            + " %}",
        "{{ [1] | batch(10**9, 'x') | list }}",
        "{{ [1] | slice(10**9) | list }}",
        "{{ ['a' * 1000000] | map('upper') | list * 100000 }}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{{ 'zz' in s }}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{% if s == s ~ 'c' %}{% endif %}"
            + "{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{% set x = s[::-1] %}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{% set x = s.split('a') %}{% endfor"
            + " %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{% set x = s.strip('b') %}{% endfor"
            + " %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{% set x = s | length %}{% endfor"
            + " %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{% set x = s[5] %}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{% for c in s %}{% break %}{%"
            + " endfor %}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{{ s | wordcount }}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{{ s is lower }}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for i in range(99999) %}{{ s < s ~ 'a' }}{% endfor %}",
        "{% set s = '1' * 1000000 %}{% for i in range(99999) %}{{ s | int }}{% endfor %}",
        "{% set l = range(99999) | list %}{% for i in range(99999) %}{{ 'x' in l }}{% endfor %}",
        "{% set l = range(99999) | list %}{% for i in range(99999) %}{% set x = l | sort %}{%"
            + " endfor %}",
        "{% for i in range(99999) %}{% set x = messages[0].content ~ ('b' * 9999) %}{% endfor %}",
        "{% for i in nested recursive %}{{ loop([i]) }}{% endfor %}{% for i in [1] recursive %}"
            + "{{ loop([i]) }}{% endfor %}",
      })
  void runawayTemplatesStop(String source) {
    ChatTemplate template = ChatTemplate.parse(source);
    InvalidRequestException e = assertThrows(InvalidRequestException.class, () -> render(template));
    assertTrue(e.getMessage().startsWith("chat template: "), e.getMessage());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ messages.__class__ }}",
        "{{ ''.__class__ }}",
        "{{ messages[0].__init__ }}",
        "{{ namespace.__globals__ }}",
        "{{ messages[0]['__class__'] }}",
        "{{ raise_exception.__code__ }}",
        "{{ messages | attr('__class__') }}",
        "{{ messages | map(attribute='__class__') | join }}",
      })
  void innerAttributesAreUndefined(String source) {
    assertEquals("", render(ChatTemplate.parse(source)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({}) }}",
        "{{ messages[0].pop('content') }}",
        "{{ messages.getClass().forName('java.lang.Runtime') }}",
        "{{ raise_exception.__globals__['os'].system('x') }}",
      })
  void reachingOutOfTheTemplateFails(String source) {
    assertThrows(InvalidRequestException.class, () -> render(ChatTemplate.parse(source)));
  }

  @Test
  void theBoundsLeaveRoomForLongConversations() {
    String source =
        "{% for m in messages %}{% set ns = namespace(n=0) %}{% for o in messages %}"
            + "{% if o.role == m.role %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}"
            + "{{ m.role ~ ns.n }}{{ m.content | trim }}{% endfor %}";
    List<ChatMessage> messages =
        java.util.stream.IntStream.range(0, 400)
            .mapToObj(i -> ChatMessage.user("message " + i + " " + "word ".repeat(500)))
            .toList();
    String text =
        ChatTemplate.parse(source).render(messages, List.of(), Map.of(), true, SpecialTokens.NONE);
    assertTrue(text.length() > 400 * 2500);
  }

  private static String render(ChatTemplate template) {
    return template.render(
        List.of(ChatMessage.user("hello")),
        List.of(),
        Map.of("nested", List.of()),
        true,
        SpecialTokens.NONE);
  }
}
